"""Runs the command `alpl` inside the test's process: an attempt costs no imports."""

import contextlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from alpl.commands import main


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str
    runs: Path

    def run_folders(self) -> list[Path]:
        return sorted(path.parent for path in self.runs.rglob("run.json"))

    def run_folder(self) -> Path:
        (folder,) = self.run_folders()
        return folder


TINY = ("trainer.max_epochs=2", "schedule.cycles=1")


def alpl(runs: Path, *overrides: str) -> Result:
    """Run it with its runs in ``runs``; exit status, output and errors."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", ["alpl", *overrides, f"paths.runs={runs}"]),
        mock.patch.dict("os.environ"),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main.cli()
        except SystemExit as end:
            status = int(end.code or 0)
    return Result(status, out.getvalue(), err.getvalue(), runs)
