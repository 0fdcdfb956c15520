"""One run of an experiment, from its config to its folder."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from alpl.commands.finished import check_finished
from alpl.commands.messages import one_line, with_place
from alpl.commands.planned import changes, planned_sweep
from alpl.commands.run_names import names_of, run_path, title_of
from alpl.commands.sweep import in_sweep, is_submitted, job_number
from alpl.config.compose import content_of
from alpl.errors import AnswersAwaited, ConfigError, DataError, RunLockedError
from alpl.experiment import make_experiment
from alpl.loop import ActiveLearning
from alpl.machine.cluster import slurm_job
from alpl.machine.files import read_sealed, write_json, write_sealed, write_text
from alpl.machine.interruption import Interrupted, Interruption
from alpl.machine.processes import end_with_parent, rank, told_as_parent
from alpl.machine.progress import Progress
from alpl.machine.speed import settled_precision
from alpl.preflight.config import check_config
from alpl.runs.environment import describe_environment
from alpl.runs.run_folder import RunFolder, content_key

log = logging.getLogger("alpl")

_THREADS = torch.get_num_threads()  # torch's own choice; a sweep's earlier job may have set another number


def run_experiment(config: DictConfig, notes: Sequence[str] = ()) -> RunFolder:
    """Run what a config describes, or what is left of it; give its folder.

    Args:
        config: of the run.
        notes: lines to be said when it starts, on how the command line was understood.

    Raises:
        ConfigError, DataError, RunLockedError: see there; also where it is finished, and was of other data.
        Interrupted: the run left after a signal; the same command goes on with it.
    """
    check_config(config)
    if config.report is not None:
        from alpl.report.drawn.declared import check_report  # here: plotting takes a second to import

        check_report(OmegaConf.to_container(config.report, resolve=True))
    torch.set_num_threads(_THREADS if config.num_threads is None else config.num_threads)
    folder = RunFolder(run_path(config))
    if folder.is_finished and folder.is_whole:
        untold = check_finished(folder.path, config)
        progress = Progress(title_of(config), job_number() if in_sweep() else None, 0)
        progress.say(f"{progress.prefix} | finished already: {folder.path}{untold and f' ({untold})'}")
        progress.close()
        return folder
    try:
        # around the lock: who requeues us must find it free
        with Interruption(config.grace_s) as interruption, interruption.blamed():
            _run_locked(folder, config, interruption, notes)
        if not _is_last():  # a signal after the last stage must end what would go on here
            interruption.leave()
    except (AnswersAwaited, Interrupted):
        if rank() == 0 or slurm_job():
            raise
        raise SystemExit(0) from None  # Lightning's observer kills process 0 when one that it started fails
    return folder


def _is_last() -> bool:
    """Whether this process has nothing to do after its run: it is alone, or a job of a sweep that is submitted."""
    return HydraConfig.initialized() and (not in_sweep() or is_submitted(HydraConfig.get()))


def _run_locked(folder: RunFolder, config: DictConfig, interruption: Interruption, notes: Sequence[str]) -> None:
    if rank() != 0:
        end_with_parent()
        _run_in(folder, config, None, interruption, notes)
        return
    with folder.locked() as stale, told_as_parent():
        _run_in(folder, config, stale, interruption, notes)


def _run_in(
    folder: RunFolder, config: DictConfig, stale: str | None, interruption: Interruption, notes: Sequence[str]
) -> None:
    undone = folder.look_over() if rank() == 0 else ""
    learning = _set_up(folder, config, interruption)
    experiment, progress = learning.experiment, learning.progress
    _check_precision(folder, config)
    is_main = rank() == 0
    handler = _log_to(folder.path / "run.log") if is_main else logging.NullHandler()
    try:
        if is_main:
            _begin(folder, config, learning, [*notes, undone], stale)
        with interruption.blamed():
            learning.run()
        if is_main:
            experiment.logger.finish(failed=False)
            progress.say(f"{progress.prefix} | finished")
    except AnswersAwaited as wait:
        if is_main:
            progress.say(f"{progress.prefix} | {wait.line}")
            experiment.logger.finish(failed=False)
        raise
    except Exception as error:
        if is_main:
            folder.write_error(traceback.format_exc() + one_line(error) + "\n")
            experiment.logger.finish(failed=True)
        raise
    except BaseException as end:  # a signal: what is done is done, and the next start goes on
        interruption.heeded()
        if is_main:
            progress.say(f"{progress.prefix} | stopped ({type(end).__name__}); the same command goes on")
            experiment.logger.finish(failed=True)
        raise
    finally:
        progress.close()
        log.removeHandler(handler)
        handler.close()


def _begin(
    folder: RunFolder, config: DictConfig, learning: ActiveLearning, notes: Sequence[str], stale: str | None
) -> None:
    """Write what the run is, and say that it begins or goes on."""
    experiment, progress = learning.experiment, learning.progress
    description = _description(config, learning)
    _describe(folder, config, description)
    folder.write_error(None)
    progress.say(f"{progress.prefix} | {'goes on' if folder.journal else 'starts'} in {folder.path}")
    for note in filter(None, notes):
        progress.say(f"{progress.prefix} | {note}")
    if job := slurm_job():
        folder.note_job(job)
        progress.say(f"{progress.prefix} | SLURM job {job['job']} on {job['node']}")
    if stale:
        progress.say(f"{progress.prefix} | took over the lock of {stale}, which is gone")
    experiment.logger.start(description, folder.path)


def _set_up(folder: RunFolder, config: DictConfig, interruption: Interruption) -> ActiveLearning:
    """Make and check all parts; whatever goes wrong before any training is a matter of the config or the data."""
    is_main = rank() == 0
    show = partial(Progress, title_of(config), job_number() if in_sweep() else None, quiet=not is_main)
    try:
        with interruption.blamed():
            return ActiveLearning(make_experiment(config), folder, show, interruption)
    except Exception as error:
        cause = error.__cause__ if isinstance(error, HydraException) and error.__cause__ else error
        message = with_place(one_line(cause), error, config)
        if is_main and not folder.journal:
            folder.write_error(traceback.format_exc() + message + "\n")
        if isinstance(cause, (DataError, RunLockedError)) or (cause is error and isinstance(error, ConfigError)):
            raise
        raise ConfigError(message) from error


def _check_precision(folder: RunFolder, config: DictConfig) -> None:
    """Refuse to go on in another precision than the run began in, as ``auto`` would on another device.

    Raises:
        ConfigError: it would.
    """
    if not folder.journal or not (folder.path / "run.json").exists():
        return
    try:
        told = read_sealed(folder.path / "run.json")
    except DataError:  # it is written again, as all that is in it follows from the command but this
        return
    of_before = told.get("config", {}).get("trainer", {}).get("precision")  # which had no other word of it
    begun = told.get("precision", of_before)
    now = _precision(config)
    if begun not in (None, "auto", now):
        raise ConfigError(f"this run was begun in {begun}, and would go on in {now}: trainer.precision={begun} goes on")


def _precision(config: DictConfig) -> Any:
    """What the trainer computes in on this device; None where its config has no precision."""
    trainer = config.trainer
    return settled_precision(trainer.get("precision"), trainer.get("accelerator", "auto"))


def _describe(folder: RunFolder, config: DictConfig, description: dict[str, Any]) -> None:
    """Write what the run is, and what it is made with; again at each resumption, as the versions may differ."""
    write_text(folder.path / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    write_sealed(folder.path / "run.json", description)
    write_json(folder.path / "environment.json", describe_environment())


def _description(config: DictConfig, learning: ActiveLearning) -> dict[str, Any]:
    content = content_of(config)
    report = OmegaConf.to_container(config.report, resolve=True) if config.report is not None else None
    return {
        **names_of(config),
        "seed": config.seed,
        "key": content_key(content),
        "variant": content_key(content_of(config, any_seed=True)),
        "precision": _precision(config),
        "num_cycles": learning.num_cycles,
        "classes": list(learning.experiment.data.classes),
        "report": report,
        "planned": planned_sweep(),
        "changes": changes(config),
        "config": content,
    }


def _log_to(path: Path) -> logging.Handler:
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    return handler
