"""Jobs of a cluster: which one this process is, so that a run's folder leads to its logs; which ones were lost."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

LOG = "ALPL_SLURM_LOG"
"""Set by slurm/array.sbatch: the file that the job writes to."""


def slurm_job() -> dict[str, str | int | None] | None:
    """Describe the SLURM job that this process belongs to; None outside.

    Returns:
        ``job``: its number as ``squeue`` and ``sacct`` show it, ``12_3`` for an array's; ``restarts``: how often it was
        requeued; ``node``; ``log``: the file with its output, where it is known.
    """
    number = os.environ.get("SLURM_JOB_ID")
    if number is None:
        return None
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    name = number if array is None else f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return {
        "job": name,
        "restarts": int(os.environ.get("SLURM_RESTART_COUNT", "0")),
        "node": socket.gethostname(),
        "log": _log(name),
    }


def _log(name: str) -> str | None:
    if folder := os.environ.get("SUBMITIT_FOLDER"):  # submitit writes %j of its folder itself
        task = os.environ.get("SLURM_PROCID", "0")
        return str(Path(folder.replace("%j", name)).resolve() / f"{name}_{task}_log.err")
    return os.environ.get(LOG)


def is_lost_job(error: Exception) -> bool:
    """Whether submitit says with an error that a job ended without a result."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    return isinstance(error, (FailedJobError, UncompletedJobError))


def lost_jobs(folder: Path) -> list[str]:
    """Wait for all jobs that submitit has submitted to SLURM, and give a line for each that ended without a result.

    Args:
        folder: has a folder for every job, named by its number.
    """
    import submitit

    lost = []
    for path in sorted(folder.glob("*/*_submitted.pkl")):
        job: submitit.SlurmJob[Any] = submitit.SlurmJob(folder=folder / "%j", job_id=path.parent.name)
        if job.exception() is not None:
            lost.append(f"job {job.job_id} was killed or crashed; its log: {job.paths.stderr}")
    return lost
