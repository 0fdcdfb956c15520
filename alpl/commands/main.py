"""The command `alpl`: a Hydra app that runs one experiment, or with -m (or an experiment file) a sweep of them.

What a run is made of, torch and Lightning, is imported when one begins: `--help` and `--cfg` answer without.
"""

from __future__ import annotations

import signal
import sys
import traceback
from importlib import metadata
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from alpl.commands.messages import USER_ERRORS, let_errors_through, one_line, refuse, wants_traces
from alpl.commands.run_names import run_path
from alpl.commands.sweep import Outcome, clearer, end_broken_sweep, in_sweep, job_number, write_outcome
from alpl.config.compose import CONF, for_hydra, register_experiments
from alpl.errors import AnswersAwaited, ConfigError
from alpl.machine.progress import quiet_libraries
from alpl.machine.terminal import leave_closed_pipe
from alpl.preflight.replaced import settle
from alpl.runs.run_folder import not_writable


def cli() -> None:
    """Entry point of the console script; errors in the command line or a config are one line and exit status 2.

    HYDRA_FULL_ERROR=1 shows the trace instead.
    """
    try:
        let_errors_through()
        register_experiments()
        if "--version" in sys.argv[1:]:
            print(versions())
            return
        sys.argv[1:] = for_hydra(sys.argv[1:])
        run()
        sys.stdout.flush()
    except BrokenPipeError:
        leave_closed_pipe()
    except (ConfigError, HydraException, OmegaConfBaseException) as error:
        refuse(clearer(error, sys.argv[1:]))
    except OSError as error:  # hydra could not make its folder, which lies below paths.runs
        refuse(not_writable(error, Path(error.filename)) if error.filename else error)
    except Exception as error:
        end_broken_sweep(error)
        raise
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def run(config: DictConfig) -> None:
    """Run one experiment. In a sweep a failure is noted and the next run begins."""
    _tell_child_processes()
    if in_sweep():
        _run_job(config)
        return
    try:
        _run(config)
    except USER_ERRORS as error:
        refuse(error)
    except Exception as error:  # error.txt in the run's folder has the trace
        refuse(error, status=1)


def _run_job(config: DictConfig) -> None:
    """Run a job of a sweep and leave its outcome for the sweep's end; others need not wait where it waits."""
    folder, fault, waits = None, None, None
    try:
        folder = str(run_path(config))
        _run(config)
    except AnswersAwaited as wait:
        waits = wait.line
    except Exception as error:
        fault = one_line(error)
        print(f"alpl: error: run {job_number() + 1} failed: {fault}", file=sys.stderr)
        if not isinstance(error, USER_ERRORS) or wants_traces():
            traceback.print_exc()
    write_outcome(Outcome(job_number(), folder, fault, waits))


def versions() -> str:
    """Give the versions that a report of a fault should name, a line each."""
    return "\n".join(f"{name} {metadata.version(name)}" for name in ("alpl", "torch", "lightning", "hydra-core"))


def _run(config: DictConfig) -> None:
    notes = settle(config, HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    from alpl.commands.one_run import run_experiment  # here: it brings torch and Lightning, seconds of a processor

    quiet_libraries()  # not before: Lightning sets how much it says when it is imported
    run_experiment(config, notes)


def _tell_child_processes() -> None:
    """Let the processes that Lightning starts for DDP repeat this run, not the sweep that it is part of.

    Lightning starts them with ``sys.argv``, which in a sweep names all runs.
    """
    if not HydraConfig.initialized():
        return
    settings = HydraConfig.get()
    sources = [s.path for s in settings.runtime.config_sources if s.provider == "command-line"]
    sys.argv[1:] = [*settings.overrides.task, "hydra.mode=RUN", *(f"--config-dir={path}" for path in sources)]


if __name__ == "__main__":
    cli()
