"""Who hears a cluster's signals, and what a warned run leaves."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import alpl

from alpl.errors import ConfigError
from alpl.machine.interruption import LEFT, WARNINGS, Interrupted, Interruption
from alpl.runs.run_folder import RunFolder

LONG = ["acquisition=dispersion", "schedule.cycles=1", "trainer.max_epochs=60"]


def only_run(runs: Path) -> Path:
    (path,) = [file.parent for file in runs.rglob("run.json")]
    return path


def started(runs: Path, *overrides: str, **environment: str) -> "subprocess.Popen[str]":
    """A run in a process of its own, in its first fit."""
    process = subprocess.Popen(
        [sys.executable, "-m", "alpl", *overrides, f"paths.runs={runs}"],
        stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
    )  # fmt: skip
    for _ in range(1200):
        if list(runs.rglob("cycle_00/epochs.csv")):
            return process
        time.sleep(0.05)
    process.kill()
    raise AssertionError(process.communicate()[1])


@pytest.mark.slow
@pytest.mark.parametrize("number", WARNINGS)
def test_a_warned_run_leaves_a_checkpoint_and_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    process = started(tmp_path / "warned", *LONG, "checkpoint_every_s=1000")  # no checkpoint but the warning's
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == LEFT, err
    run = only_run(tmp_path / "warned")
    assert "stopped (Interrupted)" in err and not RunFolder(run).is_finished
    assert (run / "cycle_00" / "fit_0.ckpt").exists() and not (run / "lock").read_text()
    for runs in ("warned", "whole"):
        assert alpl(tmp_path / runs, *LONG).status == 0
    whole = only_run(tmp_path / "whole")
    for file in ("metrics.csv", "cycle_00/query.csv", "cycle_00/epochs.csv", "cycle_01/model.pt"):
        assert (run / file).read_bytes() == (whole / file).read_bytes(), file


@pytest.mark.slow
def test_an_epoch_that_does_not_end_is_left(tmp_path: Path) -> None:
    """No epoch ends while its process is stopped in a batch: the grace is over then."""
    endless = ["data.batch_size=1", "schedule.initial.size=600", "trainer.max_epochs=4000", "schedule.cycles=0"]
    process = started(tmp_path, *endless, "grace_s=0.001", "checkpoint_every_s=1000")
    process.send_signal(signal.SIGUSR2)
    process.communicate(timeout=60)
    assert process.returncode == LEFT
    assert not list(tmp_path.rglob("fit_0.ckpt"))


@pytest.mark.slow
def test_sigterm_in_a_slurm_job_saves_and_goes_on(tmp_path: Path) -> None:
    """The cluster sends it when it has decided to end the job, and kills it soon: nothing is gained by leaving."""
    process = started(
        tmp_path, "trainer.max_epochs=4000", "schedule.cycles=0", "checkpoint_every_s=1000",
        SLURM_STEP_ID="0", SLURM_JOB_NAME="alpl",
    )  # fmt: skip
    assert not list(tmp_path.rglob("fit_0.ckpt"))
    process.send_signal(signal.SIGTERM)
    for _ in range(600):
        if saved := list(tmp_path.rglob("fit_0.ckpt")):
            break
        time.sleep(0.05)
    first = saved[0].stat().st_mtime_ns
    time.sleep(0.5)
    assert process.poll() is None and saved[0].stat().st_mtime_ns > first
    process.kill()
    process.communicate()


def test_the_signals_are_given_back_and_an_earlier_owner_is_called() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: heard.append(number))
    try:
        mine = signal.getsignal(signal.SIGUSR2)
        with Interruption() as calm:
            calm.leave()
        assert signal.getsignal(signal.SIGUSR2) is mine and heard == []
        with pytest.raises(Interrupted) as end, Interruption() as warned:
            os.kill(os.getpid(), signal.SIGUSR2)
            assert heard == []  # while the run is at work, nobody but it
            warned.leave()
        assert end.value.code == LEFT and heard == [signal.SIGUSR2]  # submitit's: it requeues
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0 and signal.getsignal(signal.SIGUSR2) is mine
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_a_run_that_ends_by_itself_tells_nobody() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: heard.append(number))
    try:
        with Interruption():
            os.kill(os.getpid(), signal.SIGUSR2)  # between the last stage and the end
        assert heard == [] and signal.getitimer(signal.ITIMER_REAL)[0] == 0
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_a_forked_worker_does_not_hear() -> None:
    with Interruption() as interruption:
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGUSR2)
            os._exit(int(interruption.ending))
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("grace", [0, -1, "soon", True])
def test_grace_is_a_time(grace: object) -> None:
    with pytest.raises(ConfigError, match=r"grace_s must be a number of seconds > 0, got"):
        Interruption(grace)  # type: ignore[arg-type]
