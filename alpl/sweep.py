"""The two ends of a sweep: how many runs there will be, and the report when all are done."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from alpl.files import read_json, write_json
from alpl.progress import SWEEP_TOTAL
from alpl.run_folder import RunFolder


@dataclass(frozen=True)
class Outcome:
    """How a run of a sweep ended: its folder, and its error if it failed."""

    number: int
    folder: str | None
    error: str | None


def in_sweep() -> bool:
    """Whether this process runs a job of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def job_number() -> int:
    """Number of the job in its sweep, from 0; 0 outside."""
    return int(HydraConfig.get().job.num) if in_sweep() else 0


def write_outcome(outcome: Outcome) -> None:
    """Leave the outcome of this job where the sweep's end finds it."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    write_json(folder / "outcome.json", asdict(outcome))


@final
class SweepReport(Callback):
    """Counts the runs of a sweep when it starts; when it ends, writes the report of each table and prints it.

    The process exits with 1 if a run failed. Works with launchers that run jobs elsewhere too: it reads what they
    left in the sweep's folder.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Count."""
        total = _count(config)
        if total:
            os.environ[SWEEP_TOTAL] = str(total)
            print(f"alpl: a sweep of {total} runs", file=sys.stderr)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Report."""
        outcomes = [Outcome(**read_json(path)) for path in Path(config.hydra.sweep.dir).glob("*/outcome.json")]
        # A run that another sweep was working on may have been finished by it since.
        failed = [o for o in outcomes if o.error and not (o.folder and RunFolder(Path(o.folder)).is_finished)]
        failed.sort(key=lambda outcome: outcome.number)
        fault = None
        try:  # hydra turns what a callback raises into a warning, and the exit status into 0
            folders = [Path(o.folder) for o in outcomes if o.folder and Path(o.folder).is_dir()]
            write_reports(folders, Path(config.paths.runs))
        except Exception as error:
            fault = f"the report could not be written: {type(error).__name__}: {error}"
        for outcome in failed:
            print(f"alpl: error: run {outcome.number + 1} failed: {outcome.error}", file=sys.stderr)
        if fault:
            print(f"alpl: error: {fault}", file=sys.stderr)
        if failed or fault:
            sys.exit(1)


def write_reports(folders: list[Path], runs: Path) -> None:
    """Write and print the report of every table that the run folders belong to, with all of the table's runs."""
    from alpl.report import summary, write_report  # here: plotting takes a second to import
    from alpl.results import find_runs

    for table in sorted({result.table for result in find_runs(folders)}):
        results = [result for result in find_runs([runs / table]) if result.table == table]
        page = write_report(table, results, runs / table / "report")
        print(summary(results))
        print(f"report: {page}")


def _count(config: DictConfig) -> int | None:
    """Count the jobs of Hydra's basic sweeper; other sweepers decide as they go."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    if not config.hydra.sweeper._target_.endswith("BasicSweeper"):
        return None
    texts = [f"{name}={value}" for name, value in (config.hydra.sweeper.params or {}).items()]
    overrides = OverridesParser.create().parse_overrides([*texts, *config.hydra.overrides.task])
    return len(BasicSweeper.split_arguments(overrides, None)[0])
