"""The command `alpl`: a Hydra app that runs one experiment, or with -m (or an experiment file) a sweep of them."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from alpl.config import CONF, check_config, content_of, register_experiments
from alpl.environment import describe_environment
from alpl.errors import ConfigError, DataError, RunLockedError
from alpl.files import write_json, write_text
from alpl.loop import ActiveLearning, Experiment
from alpl.progress import Progress, quiet_libraries
from alpl.run_folder import RunFolder, content_key
from alpl.sweep import Outcome, in_sweep, job_number, write_outcome

log = logging.getLogger("alpl")

USER_ERRORS = (ConfigError, DataError, RunLockedError)


def cli() -> None:
    """Entry point of the console script; errors in the command line or a config are one line and exit status 2."""
    show_traces = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # hydra then lets its errors through to us
    register_experiments()
    try:
        run()
    except (*USER_ERRORS, HydraException, OmegaConfBaseException) as error:
        if show_traces:
            raise
        print(f"alpl: error: {one_line(error)}", file=sys.stderr)
        sys.exit(2)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def run(config: DictConfig) -> None:
    """Run one experiment. In a sweep a failure is noted and the next run begins; alone it is raised."""
    quiet_libraries()
    _tell_child_processes()
    if not in_sweep():
        run_experiment(config)
        return
    outcome = Outcome(job_number(), None, None)
    try:
        outcome = Outcome(job_number(), str(run_experiment(config).path), None)
    except Exception as error:
        outcome = Outcome(job_number(), str(run_path(config)), one_line(error))
        print(f"alpl: error: run {job_number() + 1}: {one_line(error)}", file=sys.stderr)
        if not isinstance(error, USER_ERRORS):
            traceback.print_exc()
    finally:
        write_outcome(outcome)


def run_experiment(config: DictConfig) -> RunFolder:
    """Run what a config describes, or what is left of it; give its folder.

    Raises:
        ConfigError, DataError, RunLockedError: see there.
    """
    check_config(config)
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    folder = RunFolder(run_path(config))
    if folder.is_finished:
        Progress(_title(config), job_number(), 0).say(f"{_title(config)} | finished already: {folder.path}")
        return folder
    if rank_zero_only.rank != 0:
        _run_in(folder, config, None)
        return folder
    with folder.locked() as stale:
        _run_in(folder, config, stale)
    return folder


def run_path(config: DictConfig) -> Path:
    """Give the folder of a run: ``<runs>/<table>/<row>/<data>-seed<seed>-<key>``."""
    names = _names(config)
    key = content_key(content_of(config))
    return Path(config.paths.runs) / names["table"] / names["row"] / f"{names['data']}-seed{config.seed}-{key}"


def make_experiment(config: DictConfig) -> Experiment:
    """Make the parts that a config names."""
    make = partial(hydra.utils.instantiate, _convert_="all")
    return Experiment(
        data=make(config.data),
        make_module=partial(make, config.model),
        schedule=make(config.schedule),
        acquisition=make(config.acquisition),
        make_oracle=partial(make, config.oracle),
        providers=[make(callback) for callback in config.callbacks.values() if callback is not None],
        make_trainer=make(config.trainer, _partial_=True),
        logger=make(config.logger),
        seed=config.seed,
        num_members=config.num_members,
        warm_start=config.warm_start,
        informativeness=config.informativeness,
        checkpoint_every_s=config.checkpoint_every_s,
        keep_models=config.keep_models,
        keep_predictions=config.keep_predictions,
    )


def one_line(error: BaseException) -> str:
    """Give an error's message on one line, with its type where the type says what went wrong."""
    cause: BaseException = error
    while cause.__cause__ is not None and not isinstance(cause, USER_ERRORS):
        cause = cause.__cause__  # hydra wraps what a constructor raised
    shown = cause if isinstance(cause, USER_ERRORS) else error
    text = " ".join(str(shown).split()).replace(" Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.", "")
    known = isinstance(shown, (*USER_ERRORS, HydraException, OmegaConfBaseException))
    return text if known and text else f"{type(shown).__name__}: {text}"


def _run_in(folder: RunFolder, config: DictConfig, stale: str | None) -> None:
    try:
        experiment = _made(partial(make_experiment, config))
        is_main = rank_zero_only.rank == 0
        title = _title(config)
        show = partial(Progress, title, job_number() if in_sweep() else None, quiet=not is_main)
        learning = ActiveLearning(experiment, folder, show)
    except Exception as error:
        if rank_zero_only.rank == 0 and not folder.journal:
            folder.write_error(one_line(error) + "\n")
        raise
    progress = learning.progress
    try:
        if is_main:
            _describe(folder, config, learning.num_cycles)
            folder.write_error(None)
            handler = _log_to(folder.path / "run.log")
            progress.say(f"{title} | {'goes on' if folder.journal else 'starts'} in {folder.path}")
            if stale:
                progress.say(f"{title} | took over the lock of {stale}, which is gone")
            experiment.logger.start(_description(config, learning.num_cycles), folder.path)
        learning.run()
        if is_main:
            experiment.logger.finish(failed=False)
            progress.say(f"{title} | finished")
    except Exception as error:
        if is_main:
            experiment.logger.finish(failed=True)
            folder.write_error(traceback.format_exc() + one_line(error) + "\n")
        raise
    finally:
        progress.close()
        if is_main:
            log.removeHandler(handler)
            handler.close()


def _made(make: Callable[[], Experiment]) -> Experiment:
    """Make the parts; what a constructor refuses is a matter of the config."""
    try:
        return make()
    except HydraException as error:
        cause = error.__cause__
        if isinstance(cause, (TypeError, ValueError)):
            place = str(error).splitlines()[-1]
            raise ConfigError(f"{one_line(cause)} ({place})") from error
        raise


def _describe(folder: RunFolder, config: DictConfig, num_cycles: int) -> None:
    """Write what the run is, and what it is made with; again at each resumption, as the versions may differ."""
    write_text(folder.path / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    write_json(folder.path / "run.json", _description(config, num_cycles))
    write_json(folder.path / "environment.json", describe_environment())


def _description(config: DictConfig, num_cycles: int) -> dict[str, Any]:
    content = content_of(config)
    report = OmegaConf.to_container(config.report, resolve=True) if config.report is not None else None
    return {
        **_names(config),
        "seed": config.seed,
        "key": content_key(content),
        "variant": content_key(content_of(config, any_seed=True)),
        "num_cycles": num_cycles,
        "report": report,
        "config": content,
    }


def _names(config: DictConfig) -> dict[str, str]:
    """Table, row and data set by name: as the config says, else by the choices that were made."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    data = str(choices.get("data", "data"))
    row = config.row or choices.get("method") or choices.get("acquisition", "row")
    return {"table": str(config.table or data), "row": str(row), "data": data}


def _title(config: DictConfig) -> str:
    names = _names(config)
    return f"{names['row']} {names['data']} seed {config.seed}"


def _log_to(path: Path) -> logging.Handler:
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    return handler


def _tell_child_processes() -> None:
    """Let the processes that Lightning starts for DDP repeat this run, not the sweep that it is part of.

    Lightning starts them with ``sys.argv``, which in a sweep names all runs.
    """
    if not HydraConfig.initialized():
        return
    settings = HydraConfig.get()
    sources = [s.path for s in settings.runtime.config_sources if s.provider == "command-line"]
    sys.argv[1:] = [*settings.overrides.task, "hydra.mode=RUN", *(f"--config-dir={path}" for path in sources)]
    assert settings.mode in (RunMode.RUN, RunMode.MULTIRUN)


if __name__ == "__main__":
    cli()
