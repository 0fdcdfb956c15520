"""Who hears a cluster's signals, and what a warned run leaves."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
from command import alpl
from forked import Forked

from alpl.errors import ConfigError
from alpl.loop import ActiveLearning
from alpl.machine.interruption import LEFT, WARNINGS, Interrupted, Interruption
from alpl.runs.run_folder import RunFolder

LONG = ["acquisition=dispersion", "schedule.cycles=1", "trainer.max_epochs=60"]


def only_run(runs: Path) -> Path:
    (path,) = [file.parent for file in runs.rglob("run.json")]
    return path


def as_a_person(*command: str, env: dict[str, str]) -> "subprocess.Popen[str]":
    """An interpreter of its own."""
    return subprocess.Popen(
        [sys.executable, *command], stderr=subprocess.PIPE, text=True, env=env,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a background job's children ignore it
    )  # fmt: skip


Start = Callable[..., "Forked | subprocess.Popen[str]"]


def started(runs: Path, *overrides: str, start: Start = Forked, **environment: str) -> "Forked | subprocess.Popen[str]":
    """A run in a process of its own, in its first fit."""
    process = start("-m", "alpl", *overrides, f"paths.runs={runs}", env={**os.environ, **environment})
    for _ in range(3600):
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


ENDED = {signal.SIGINT: 130, signal.SIGTERM: 143}
STARTS = {signal.SIGINT: as_a_person, signal.SIGTERM: Forked}  # one of each pair as a person starts it
SOON_S = 10  # of a busy machine; five of a quiet one


@pytest.mark.slow
@pytest.mark.parametrize("number", ENDED)
def test_ctrl_c_and_sigterm_end_a_fit_before_its_next_batch(tmp_path: Path, number: signal.Signals) -> None:
    process = started(tmp_path / "stopped", *LONG, "checkpoint_every_s=0", start=STARTS[number])
    process.send_signal(number)
    _, err = process.communicate(timeout=SOON_S)
    assert process.returncode == ENDED[number], err
    run = only_run(tmp_path / "stopped")
    assert err.rstrip().endswith("stopped (Interrupted); the same command goes on") and "Traceback" not in err
    assert not (run / "lock").read_text()
    for runs in ("stopped", "whole"):
        assert alpl(tmp_path / runs, *LONG, "checkpoint_every_s=0").status == 0
    whole = only_run(tmp_path / "whole")
    for file in ("metrics.csv", "cycle_00/query.csv", "cycle_00/epochs.csv", "cycle_01/model.pt"):
        assert (run / file).read_bytes() == (whole / file).read_bytes(), file


AT = """
import os, sys, time
from pathlib import Path
from alpl import loop
from alpl.commands import main
from alpl.cycle.training import Training
from alpl.modules.classifier import Classifier

def slowly(wrapped, seconds):
    def call(*arguments, **options):
        Path({folder!r}, "there").touch()
        time.sleep(seconds)
        return wrapped(*arguments, **options)
    return call

# rehearsals look at the pool before there is a journal
stage = {stage!r}
if stage == "test":
    Classifier.test_step = slowly(Classifier.test_step, 0.5)
elif stage == "predict":
    loop.Looking.predict = slowly(loop.Looking.predict, 600)
elif stage == "select":
    loop.check_query = slowly(loop.check_query, 600)
main.cli()
"""


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["test", "predict", "select"])
@pytest.mark.parametrize("number", ENDED)
def test_every_stage_hears(tmp_path: Path, number: signal.Signals, stage: str) -> None:
    """Between the batches of a test; in the middle of what has none."""
    code = AT.format(folder=str(tmp_path), stage=stage)
    small = ["acquisition=margin", "trainer.max_epochs=1", "schedule.cycles=1", "data.eval_batch_size=10"]
    process = Forked("-c", code, *small, f"paths.runs={tmp_path / 'runs'}")
    for _ in range(1200):
        if (tmp_path / "there").exists():
            break
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=SOON_S)
    assert process.returncode == ENDED[number], err
    assert "stopped (Interrupted); the same command goes on" in err
    assert alpl(tmp_path / "runs", *small).status == 0


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    process = started(tmp_path, *LONG, "checkpoint_every_s=0")
    process.send_signal(signal.SIGINT)
    time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SOON_S)
    assert process.returncode == 130
    assert alpl(tmp_path, *LONG, "checkpoint_every_s=0").status == 0


@pytest.mark.slow
def test_ctrl_c_ends_the_whole_sweep(tmp_path: Path) -> None:
    process = started(tmp_path, "-m", "seed=0,1,2", *LONG, "checkpoint_every_s=0")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SOON_S)
    assert process.returncode == 130 and len(list(tmp_path.rglob("run.json"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("number", ENDED)
def test_two_processes_leave_together_whoever_heard(tmp_path: Path, number: signal.Signals, which: int) -> None:
    two = ["trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy=ddp", "trainer.max_epochs=4000"]
    process = started(tmp_path, *two, "schedule.cycles=0", start=Forked if which else STARTS[number])
    (child,) = [c for c in psutil.Process(process.pid).children() if "python" in c.name()]
    os.kill((process.pid, child.pid)[which], number)
    _, err = process.communicate(timeout=2 * SOON_S)
    assert process.returncode == ENDED[number], err
    psutil.wait_procs([child], timeout=SOON_S)
    assert not child.is_running() and not RunFolder(only_run(tmp_path)).is_finished


@pytest.mark.slow
def test_no_process_outlives_the_first(tmp_path: Path) -> None:
    two = ["trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy=ddp", "trainer.max_epochs=4000"]
    process = started(tmp_path, *two, "schedule.cycles=0")
    (child,) = [c for c in psutil.Process(process.pid).children() if "python" in c.name()]
    process.kill()
    process.wait()
    psutil.wait_procs([child], timeout=SOON_S)
    assert not child.is_running()


class Swallows:
    """Code in which an exception is lost: Python ignores what is raised in a finalizer."""

    def __del__(self) -> None:
        time.sleep(4)


@pytest.mark.sample(1)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", [signal.SIGUSR2, *ENDED])
def test_what_was_swallowed_is_raised_again(number: signal.Signals) -> None:
    begin = time.monotonic()
    with pytest.raises(Interrupted) as end, Interruption(grace_s=0.1) as interruption:
        os.kill(os.getpid(), number)
        Swallows()
        assert interruption.leaving
        time.sleep(60)
    assert end.value.code == {**ENDED, signal.SIGUSR2: LEFT}[number] and time.monotonic() - begin < 10


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


@pytest.mark.parametrize("number", [signal.SIGUSR2, *ENDED])
def test_an_error_after_a_signal_is_its_doing(number: signal.Signals) -> None:
    """A data loader's worker, say, that died of the same signal."""
    with pytest.raises(Interrupted) as end, Interruption() as interruption, interruption.blamed():
        os.kill(os.getpid(), number)
        raise RuntimeError("DataLoader worker (pid(s) 17) exited unexpectedly")
    assert end.value.code == {**ENDED, signal.SIGUSR2: LEFT}[number]
    with pytest.raises(RuntimeError, match="of its own"), Interruption() as interruption, interruption.blamed():
        raise RuntimeError("of its own")


def hears(number: signal.Signals, wrapped: Callable[..., None], error: Exception | None = None) -> Callable[..., None]:
    """Let a signal come when a call is over, and an error with it."""

    def call(*arguments: object) -> None:
        wrapped(*arguments)
        os.kill(os.getpid(), number)
        if error:
            raise error

    return call


@pytest.mark.sample(1)
@pytest.mark.parametrize("number", [signal.SIGUSR2, *ENDED])
def test_a_signal_after_the_last_stage_ends_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr(ActiveLearning, "run", hears(number, ActiveLearning.run))
    result = alpl(tmp_path, "-m", "seed=0,1", "trainer.max_epochs=1", "schedule.cycles=0")
    assert result.status == {**ENDED, signal.SIGUSR2: LEFT}[number], result.err
    assert RunFolder(result.run_folder()).is_finished
    alone = alpl(tmp_path, "seed=1", "trainer.max_epochs=1", "schedule.cycles=0")
    assert alone.status == 0 and all(RunFolder(path).is_finished for path in alone.run_folders())


def test_an_error_after_a_signal_ends_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("DataLoader worker (pid(s) 17) exited unexpectedly")
    monkeypatch.setattr(ActiveLearning, "run", hears(signal.SIGTERM, lambda learning: None, error))
    result = alpl(tmp_path, "-m", "seed=0,1", "trainer.max_epochs=1", "schedule.cycles=0")
    assert result.status == 143 and not list(tmp_path.rglob("error.txt"))
    run = result.run_folder()
    assert "RuntimeError: DataLoader worker" in (run / "run.log").read_text() and "Traceback" not in result.err


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
