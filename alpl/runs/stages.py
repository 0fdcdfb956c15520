"""The stages of a run: which are done, which is at work, and who waits for whom.

With several processes (DDP) process 0 keeps the journal, and the others wait for its lines.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import torch

from alpl.machine.interruption import Interruption
from alpl.machine.processes import rank
from alpl.machine.progress import Progress
from alpl.runs import artefacts
from alpl.runs.run_folder import RunFolder


@final
class Stages:
    """Runs each stage once, however often the run is killed.

    Args:
        folder: holds the journal.
        progress: hears of every stage.
        interruption: may end the run between two stages.
    """

    detail: str
    """What the stage at work has to say at its end."""

    note: dict[str, Any]
    """What the stage at work puts into its line of the journal, beside or in place of what stands there anyway."""

    def __init__(self, folder: RunFolder, progress: Progress, interruption: Interruption) -> None:
        self.folder = folder
        self.progress = progress
        self.interruption = interruption
        self.detail = "done"
        self.note = {}

    @contextmanager
    def run(self, cycle: int, stage: str, *, together: bool) -> Iterator[bool]:
        """Give whether this process has work in a stage; keep the journal and the progress.

        A stage done together cannot end before every process has taken part, so all of them find the same journal
        when they ask.
        """
        if self.folder.is_done(cycle, stage):
            yield False
            return
        if rank() != 0:
            yield together
            self._wait_for(cycle, stage)
            return
        self.progress.stage(cycle, stage)
        self.detail = "done"
        self.note = {}
        files = self.folder.cycle(cycle).folder
        known, before = artefacts.known_files(self.folder.journal), artefacts.stamps(self.folder.path, files)
        start = time.perf_counter()
        yield True
        seconds = time.perf_counter() - start
        sums = artefacts.sums_of_new(self.folder.path, files, before, known)
        entry = {"cycle": cycle, "stage": stage, "seconds": round(seconds, 3)} | self.note
        self.folder.mark_done(entry | {artefacts.FILES: sums})
        self.progress.done(seconds, self.detail, shown=stage == "test")
        if not torch.distributed.is_initialized():  # several processes leave together, at the end of an epoch
            self.interruption.leave()

    def _wait_for(self, cycle: int, stage: str) -> None:
        """Wait for process 0, as long as the parent process lives."""
        parent = os.getppid()
        while not self.folder.is_done(cycle, stage):
            if os.getppid() != parent:
                raise RuntimeError(f"process 0 ended before cycle {cycle}, stage {stage}")
            time.sleep(0.05)
