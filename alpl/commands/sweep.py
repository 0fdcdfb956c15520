"""A sweep: the jobs that it is made of, how each of them ended, and the report when all are done."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, final

from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import ConfigCompositionException, HydraException, OverrideParseException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from alpl.config.compose import EXPERIMENTS, for_hydra
from alpl.config.composing import composing
from alpl.errors import AnswersAwaited, ConfigError, DataError
from alpl.machine.cluster import is_lost_job, lost_jobs
from alpl.machine.files import read_sealed, write_sealed
from alpl.machine.progress import SWEEP_TOTAL
from alpl.machine.terminal import printable
from alpl.preflight.config import check_tasks
from alpl.preflight.replaced import settle
from alpl.runs.run_folder import RunFolder


@dataclass(frozen=True)
class Outcome:
    """How a run of a sweep ended: its folder, its error if it failed, and what it waits for if it does."""

    number: int
    folder: str | None
    error: str | None
    waits: str | None = None


def in_sweep() -> bool:
    """Whether this process runs a job of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def job_number() -> int:
    """Number of the job in its sweep, from 0; 0 outside."""
    return int(HydraConfig.get().job.num) if in_sweep() else 0


def write_outcome(outcome: Outcome) -> None:
    """Leave the outcome of this job where the sweep's end finds it."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    write_sealed(folder / "outcome.json", asdict(outcome))


@final
class SweepReport(Callback):
    """Counts the runs of a sweep when it starts; when it ends, writes the report of each table and prints it.

    The process exits with 1 if a run failed, else with 3 if one waits for a person. Launchers that run jobs elsewhere
    (submitit) wait for all of them, so it works with them too: it reads what the jobs left in the sweep's folder.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Count."""
        _SWEEPS.append(config)
        jobs = _split(config)
        if jobs:
            os.environ[SWEEP_TOTAL] = str(len(jobs))
            print(f"alpl: a sweep of {len(jobs)} runs", file=sys.stderr)
        if is_submitted(config.hydra):
            logs = Path(config.hydra.sweep.dir) / ".submitit"
            print(f"alpl: they are submitted, and waited for; the jobs' logs: {logs}", file=sys.stderr)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Report."""
        _SWEEPS.clear()
        end_sweep(config, [])


_SWEEPS: list[DictConfig] = []
"""The sweep that this process has started and not ended."""


def end_sweep(config: DictConfig, lost: Sequence[str]) -> None:
    """Write and print the reports of a sweep's tables, then what failed or waits; exit with 1 or 3 where something did.

    Args:
        config: the sweep's.
        lost: a line for every job that ended without a word: killed, or out of memory.
    """
    outcomes, lost = [], list(lost)
    for path in Path(config.hydra.sweep.dir).glob("*/outcome.json"):
        try:
            outcomes.append(Outcome(**read_sealed(path)))
        except (DataError, TypeError) as error:
            lost.append(f"how a run ended cannot be read: {error}")
    # A run that another sweep was working on may have been finished by it since.
    failed = [o for o in outcomes if o.error and not (o.folder and _is_finished(Path(o.folder)))]
    failed.sort(key=lambda outcome: outcome.number)
    faults = _failures(config, failed, len(outcomes)) + lost
    try:  # hydra turns what a callback raises into a warning, and the exit status into 0
        folders = [Path(o.folder) for o in outcomes if o.folder and Path(o.folder).is_dir()]
        write_reports(folders, Path(config.paths.runs))
    except Exception as error:
        faults.append(f"the report could not be written: {type(error).__name__}: {error}")
    for fault in faults:
        print(f"alpl: error: {fault}", file=sys.stderr)
    if faults:
        sys.exit(1)
    waiting = [o for o in outcomes if o.waits and not (o.folder and _is_finished(Path(o.folder)))]
    for outcome in sorted(waiting, key=lambda outcome: outcome.number):
        print(f"alpl: run {outcome.number + 1} {outcome.waits}", file=sys.stderr)
    if waiting:
        sys.exit(AnswersAwaited.STATUS)


def _is_finished(folder: Path) -> bool:
    """Whether a run is; one whose folder cannot be read has failed as its outcome says."""
    try:
        return RunFolder(folder).is_finished
    except (ConfigError, DataError):
        return False


def _failures(config: DictConfig, failed: Sequence[Outcome], total: int) -> list[str]:
    """Name the runs that failed; what went wrong was said when it did, but on a cluster only in the job's log."""
    if is_submitted(config.hydra):
        return [f"run {outcome.number + 1} failed: {outcome.error}" for outcome in failed]
    numbers = ", ".join(str(outcome.number + 1) for outcome in failed)
    return [f"{len(failed)} of {total} runs failed, as told above: run {numbers}"] if failed else []


def is_submitted(hydra: Any) -> bool:
    """Whether the jobs of a sweep run elsewhere, and write to logs of their own.

    Args:
        hydra: the node of Hydra's own settings.
    """
    return "submitit" in hydra.launcher._target_


def end_broken_sweep(error: Exception) -> None:
    """End a sweep whose launcher gave up because a SLURM job was lost: wait for the others, and report all.

    Any other error passes.

    Raises:
        SystemExit: with 1, after the report.
    """
    if not _SWEEPS or not _SWEEPS[-1].hydra.launcher._target_.endswith(".SlurmLauncher") or not is_lost_job(error):
        return
    config = _SWEEPS.pop()
    print("alpl: a job ended without a result; the sweep waits for the others", file=sys.stderr)
    end_sweep(config, lost_jobs(Path(config.hydra.sweep.dir) / ".submitit"))


def write_reports(folders: list[Path], runs: Path) -> None:
    """Write and print the report of every table that the run folders belong to, with all of the table's runs."""
    from alpl.report import summary, write_report  # here: plotting takes a second to import
    from alpl.runs.results import find_runs

    for table in sorted({result.table for result in find_runs(folders)}):
        results = [result for result in find_runs([runs / table]) if result.table == table]
        page = write_report(table, results, runs / table / "report")
        print(printable(summary(results)))
        print(f"report: {page}")


# --- the jobs


def jobs_of(overrides: Sequence[str]) -> list[list[str]]:
    """List the jobs that ``alpl <overrides>`` runs, in Hydra's order: the overrides with which each runs by itself.

    Nothing is run. A command that is no sweep has one job.

    Args:
        overrides: the command line: ``+experiment=thesis/table3_1 seed=0,1``, with ``-m`` in front where needed.

    Raises:
        ConfigError: the sweeper decides on its jobs as it goes, or see :func:`compose_job`.
        HydraException: the overrides do not compose.
    """
    texts = [text for text in overrides if text not in _MULTIRUN]
    is_sweep = len(texts) < len(overrides)
    with composing() as hydra:
        config = _compose(hydra, for_hydra(texts), RunMode.MULTIRUN)
    hydra_overrides = [text for text in config.hydra.overrides.hydra if not text.startswith("hydra.mode=")]
    if not is_sweep and config.hydra.mode != RunMode.MULTIRUN:
        check_single(config.hydra.overrides.task)
        return [[*hydra_overrides, *config.hydra.overrides.task, _ALONE]]
    jobs = _split(config)
    if jobs is None:
        raise ConfigError(
            f"hydra.sweeper must be Hydra's basic sweeper, as {config.hydra.sweeper._target_} decides on its jobs "
            "as it goes: their list is not known before"
        )
    return [[*hydra_overrides, *job, _ALONE] for job in jobs]


def check_single(overrides: Sequence[str], hint: str = "-m makes a sweep") -> None:
    """Refuse several values outside a sweep, where Hydra would take them for a job that must fail.

    Args:
        overrides: a command line, or what is left of it.
        hint: what to do instead.

    Raises:
        ConfigError: there are some.
    """
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if override.is_sweep_override():
            name, _, values = str(override.input_line).partition("=")
            raise ConfigError(f"{name} must have one value outside a sweep, got {values}; {hint}")


def clearer(error: Exception, overrides: Sequence[str]) -> Exception:
    """Give what the first job of a command says that does not compose, where that says more than Hydra's error."""
    if isinstance(error, OverrideParseException) and "=" not in error.override:
        name = error.override
        hint = f"; did you mean +experiment={name}?" if (EXPERIMENTS / f"{name}.yaml").is_file() else ""
        return ConfigError(f"an override must be KEY=VALUE, got {name!r}{hint}")
    if isinstance(error, OverrideParseException) and "LexerNoViableAlt" in str(error):
        name, _, value = error.override.partition("=")
        return ConfigError(f"{name} must be quoted for Hydra, with quotes that the shell leaves: '{name}=\"{value}\"'")
    if not isinstance(error, ConfigCompositionException):
        return error
    try:
        for job in jobs_of(overrides):
            compose_job(job)
    except ConfigError as better:
        return better
    except (HydraException, OmegaConfBaseException):
        pass
    return error


def compose_job(overrides: Sequence[str]) -> DictConfig:
    """Compose the config of one job, with its ``hydra`` node: what ``alpl <overrides>`` would run.

    Raises:
        ConfigError: they do not as data and model are of two tasks.
        HydraException: the overrides do not compose.
    """
    with composing() as hydra:
        config = _compose(hydra, for_hydra(overrides), RunMode.RUN)
    settle(config, config.hydra.overrides.task)
    return config


def split_values(overrides: Sequence[str]) -> tuple[tuple[str, ...], list[Override]]:
    """Part the overrides of a job into those that decide what is composed, and plain values that are set in it then.

    Values of ``hydra`` and ``paths`` count as the former; so do all where a search path may bring further groups.

    Raises:
        HydraException: they cannot be parsed.
    """
    common, values = [], []
    has_own_groups = any("searchpath" in text for text in overrides)
    for text in overrides:
        override = _parsed(text)
        is_plain = override.type is OverrideType.CHANGE and override.package is None and not has_own_groups
        if is_plain and not _decides(override.key_or_group):
            values.append(override)
        else:
            common.append(text)
    return tuple(common), values


@cache
def _parsed(override: str) -> Override:
    """Parse one override; the jobs of a sweep share most of theirs.

    Raises:
        HydraException: it cannot be parsed.
    """
    (parsed,) = OverridesParser.create().parse_overrides([override])
    return parsed


@cache
def _decides(key: str) -> bool:
    """Whether what is composed, or where it is put, depends on a key."""
    if "/" in key or key.partition(".")[0] in ("hydra", "paths") or key.endswith("_target_"):
        return True
    with composing() as hydra:
        return bool(hydra.config_loader.get_group_options(key))


def set_values(config: DictConfig, values: list[Override]) -> None:
    """Set values in a composed config, as Hydra does after it has composed one.

    Raises:
        HydraException: there is no such key.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    ConfigLoaderImpl._apply_overrides_to_config(values, config)


_MULTIRUN = ("-m", "--multirun")
_ALONE = "hydra.mode=RUN"  # an experiment's own mode is MULTIRUN


def _compose(hydra: Hydra, overrides: list[str], mode: RunMode) -> DictConfig:
    """Compose a config.

    A detector's pre-processing does not compose with a classifier's data, and Hydra says so in words that help nobody;
    without it data and model compose, and can say what is wrong.
    """
    try:
        return hydra.compose_config("config", overrides, mode)
    except ConfigCompositionException:
        with suppress(HydraException):
            check_tasks(hydra.compose_config("config", [*overrides, "~preprocess@data"], mode))
        raise


def _split(config: DictConfig) -> list[list[str]] | None:
    """List the jobs of Hydra's basic sweeper; other sweepers decide as they go: None."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    if not config.hydra.sweeper._target_.endswith("BasicSweeper"):
        return None
    texts = [f"{name}={value}" for name, value in (config.hydra.sweeper.params or {}).items()]
    overrides = OverridesParser.create().parse_overrides([*texts, *config.hydra.overrides.task])
    jobs: list[list[str]] = BasicSweeper.split_arguments(overrides, None)[0]
    return jobs
