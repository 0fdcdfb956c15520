"""A sweep on a real SLURM, through submitit and as a plain array, killed, requeued and warned, equals a local one."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import Result, alpl
from slurm.cluster import Cluster, NoSlurmError, require_programs
from slurm.held_fit import FOLDER, TASKS

from alpl.commands.report import cli as report
from alpl.config.compose import SLURM
from alpl.runs.run_folder import RunFolder

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

SWEEP = (
    "-m", "acquisition=random,dispersion", "seed=0,1", "schedule.cycles=1", "trainer.max_epochs=4",
    "checkpoint_every_s=0", "+callbacks.held._target_=slurm.held_fit.HeldFit",
)  # fmt: skip
NUM_RUNS = 4
KILLED, REQUEUED, WARNED = 0, 1, NUM_RUNS - 1  # numbers in the array; the other one is not disturbed
TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="alpl-slurm-"))  # short: sockets lie in it
    try:
        require_programs()
        with Cluster(folder, max(2, os.cpu_count() or 1)) as running:
            path = [str(TESTS), os.environ.get("PYTHONPATH", "")]
            running.environment["PYTHONPATH"] = os.pathsep.join(path)  # of the callback that holds jobs
            yield running
    except NoSlurmError as error:
        pytest.skip(str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Result:
    result = alpl(tmp_path_factory.mktemp("local"), *SWEEP)
    assert result.status == 0, result.err
    return result


def test_through_submitit(cluster: Cluster, local: Result, tmp_path: Path) -> None:
    size = ["hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=null", "hydra.launcher.timeout_min=10"]
    command = [sys.executable, "-m", "alpl", *SWEEP, "slurm=cpu", *size, f"paths.runs={tmp_path}"]
    sweep = subprocess.Popen(
        command, env=_held(cluster, tmp_path), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        killed, others = _disturb(cluster, tmp_path)
        hurried: set[str] = set()
        _until(lambda: _hurry(cluster, hurried) or sweep.poll() is not None, "the sweep ends")
    finally:
        sweep.kill()
        _free(tmp_path, *range(NUM_RUNS))
    out, err = sweep.communicate()
    assert sweep.returncode == 1
    assert f"job {_job(killed)} was killed or crashed" in err and err.count("was killed or crashed") == 1, err
    assert f"{NUM_RUNS - 1} of {NUM_RUNS}" in out, out + err
    _assert_requeued(others)
    assert alpl(tmp_path, *SWEEP).status == 0  # the sweep's command, anywhere, does what is left
    _assert_equal(tmp_path, local)


def test_as_an_array(cluster: Cluster, local: Result, tmp_path: Path) -> None:
    overrides = [*SWEEP, f"paths.runs={tmp_path}"]
    try:
        assert _submit_what_is_left(cluster, tmp_path, overrides) == f"0-{NUM_RUNS - 1}"
        killed, others = _disturb(cluster, tmp_path)
    finally:
        _free(tmp_path, *range(NUM_RUNS))
    hurried: set[str] = set()
    _until(lambda: _hurry(cluster, hurried) or not cluster.command("squeue", "-h"), "the array ends")
    _assert_requeued(others)
    assert not RunFolder(killed).is_finished
    assert _submit_what_is_left(cluster, tmp_path, overrides).isdigit()
    _until(lambda: not cluster.command("squeue", "-h"), "the last job ends")
    _assert_equal(tmp_path, local)
    nothing = _alpl_jobs(cluster, "--range", *overrides)
    assert nothing.returncode == 1 and nothing.stdout == ""
    with (tmp_path / f"alpl-{_job(killed)}.out").open() as log:  # named in the run's folder, by row and seed
        assert _entries(killed)[0]["log"] == log.name and "starts in" in log.read()


# --- what is done to the jobs


def _held(cluster: Cluster, folder: Path) -> dict[str, str]:
    """The environment of jobs that are held in their first fit where something will be done to them."""
    tasks = ",".join(map(str, (KILLED, REQUEUED, WARNED)))
    return {**cluster.environment, FOLDER: str(folder), TASKS: tasks}


def _free(folder: Path, *tasks: int) -> None:
    for task in tasks:
        (folder / f"free_{task}").touch()


def _disturb(cluster: Cluster, runs: Path) -> tuple[Path, list[Path]]:
    """Kill a job that is held in its fit, requeue another, warn the array's last one that its time is up.

    The last one, as its own number is the whole array's, too.
    """
    seen: list[Path] = []
    for task, act in (
        (KILLED, lambda job: cluster.command("scancel", "--signal=KILL", job)),
        (REQUEUED, lambda job: cluster.command("scontrol", "requeue", job)),
        (WARNED, lambda job: _warn(cluster, job)),
    ):
        _until((runs / f"held_{task}").exists, f"job {task} is in its fit")
        (run,) = (path.parent for path in runs.rglob("slurm.jsonl") if _job(path.parent).endswith(f"_{task}"))
        seen.append(run)
        act(_job(run))
    _free(runs, WARNED)
    return seen[0], seen[1:]


def _warn(cluster: Cluster, job: str) -> None:
    """Send the warning; scancel then asks for a minute or two again, as the job has requeued itself."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        cluster.command("scancel", "--signal=USR2", job, timeout=3)


def _entries(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "slurm.jsonl").read_text().splitlines()]


def _job(run: Path) -> str:
    return str(_entries(run)[0]["job"])


def _hurry(cluster: Cluster, hurried: set[str]) -> None:
    """Start requeued jobs at once, as SLURM holds them back for two minutes; each once, as asking again delays it."""
    for line in cluster.command("squeue", "-h", "-r", "-t", "PENDING", "-o", "%i %r").splitlines():
        job, reason = line.split(maxsplit=1)
        if reason == "BeginTime" and job not in hurried:
            cluster.command("scontrol", "update", f"JobId={job}", "StartTime=now")
            hurried.add(job)


def _until(ready: Callable[[], bool | None], what: str, seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"after {seconds:.0f} s not yet: {what}"
        time.sleep(0.1)


# --- the array


def _alpl_jobs(cluster: Cluster, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "alpl.commands.jobs", *arguments]
    return subprocess.run(command, env=cluster.environment, capture_output=True, text=True, timeout=120)


def _submit_what_is_left(cluster: Cluster, folder: Path, overrides: list[str]) -> str:
    """The command of slurm/README.md; gives the array's range."""
    found = _alpl_jobs(cluster, "--range", *overrides)
    assert found.returncode == 0, found.stderr
    numbers = found.stdout.strip()
    path = f"{Path(sys.executable).parent}:{cluster.environment['PATH']}"  # of an active virtual environment
    subprocess.run(
        ["sbatch", f"--array={numbers}", "--cpus-per-task=1", str(SLURM / "array.sbatch"), *overrides],
        env={**_held(cluster, folder), "PATH": path}, cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return numbers


# --- what is left behind


def _assert_requeued(runs: list[Path]) -> None:
    for run in runs:
        assert RunFolder(run).is_finished
        assert [entry["restarts"] for entry in _entries(run)] == [0, 1], _entries(run)
    assert "stopped (Interrupted)" in (runs[1] / "run.log").read_text()


def _assert_equal(runs: Path, local: Result) -> None:
    """Every run's results and picks, and the report's table."""
    names = [path.relative_to(local.runs) for path in local.run_folders()]
    assert len(names) == NUM_RUNS
    for name in names:
        for file in ("metrics.csv", "cycle_00/query.csv", "cycle_00/epochs.csv", "cycle_01/metrics.json"):
            assert (runs / name / file).read_bytes() == (local.runs / name / file).read_bytes(), f"{name}/{file}"
    for result in (runs, local.runs):
        report([str(result)])
    table = "digits/report/table.csv"
    assert (runs / table).read_bytes() == (local.runs / table).read_bytes()
