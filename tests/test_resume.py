"""A killed run goes on where it stopped, and what it leaves is what an undisturbed run leaves, byte for byte."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from forked import Forked

from alpl.runs.run_folder import RunFolder

HARNESS = Path(__file__).parent / "kill_harness.py"
NUM_KILLS = int(os.environ.get("ALPL_TEST_KILLS", "8"))

# What differs by nature: seconds, the machine's answer to "when".
TIMED = {"journal.jsonl", "run.log", "environment.json", "cost.json", "lock"}

RUN = ["acquisition=dispersion", "trainer.max_epochs=12", "schedule.cycles=3", "checkpoint_every_s=0"]


def contents(run: Path) -> dict[str, bytes]:
    """Every file of a run that must not depend on how often it was killed."""
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name not in TIMED
    }


_undisturbed: dict[tuple[str, ...], dict[str, int]] = {}  # files and checkpoints of runs, by their overrides


def harness(runs: Path, kills: int, mean_s: float, *overrides: str, seed: int = 0) -> dict[str, int]:
    """Run it, killed so often (at most), on the mean each so many seconds of an undisturbed run.

    Where it is killed is counted in what an undisturbed run does: with ``kills=0``, first.
    """
    counts = _undisturbed[overrides] if kills else {"files": 0, "checkpoints": 0}
    numbers = (seed, kills, mean_s, counts["files"], counts["checkpoints"])
    process = Forked(str(HARNESS), *map(str, numbers), "--", f"paths.runs={runs}", *overrides)
    out, err = process.communicate(timeout=570)
    assert process.returncode == 0, out + err
    outcome: dict[str, int] = json.loads(out.splitlines()[-1])
    if not kills:
        _undisturbed[overrides] = outcome
    return outcome


def only_run(runs: Path) -> Path:
    (path,) = [file.parent for file in runs.rglob("run.json")]
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "extra",
    [[], ["acquisition=bald", "num_members=2", "data.labeled_fraction=0.5"]],
    ids=["dispersion", "ensemble_balanced_batches"],
)
def test_killed_at_random_moments_equals_undisturbed(tmp_path: Path, extra: list[str]) -> None:
    overrides = [*RUN, *extra]
    assert harness(tmp_path / "whole", 0, 1.0, *overrides)["status"] == 0
    whole = only_run(tmp_path / "whole")
    seconds = sum(entry.get("seconds", 0) for entry in RunFolder(whole).journal)
    outcome = harness(tmp_path / "killed", NUM_KILLS, seconds / NUM_KILLS, *overrides)
    killed = only_run(tmp_path / "killed")
    assert outcome["status"] == 0 and outcome["killed"] > NUM_KILLS // 3 and outcome["killed_in_fit"], outcome
    assert contents(killed).keys() == contents(whole).keys()
    different = [name for name, data in contents(whole).items() if contents(killed)[name] != data]
    # the two folders' own paths stand in config.yaml
    assert [name for name in different if name != "config.yaml"] == []
    assert whole.name == killed.name


@pytest.mark.slow
def test_the_same_command_again_does_nothing(tmp_path: Path) -> None:
    overrides = ["acquisition=entropy", "trainer.max_epochs=2", "schedule.cycles=1"]
    harness(tmp_path, 0, 1.0, *overrides)
    run = only_run(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    harness(tmp_path, 0, 1.0, *overrides)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_no_success(tmp_path: Path, number: signal.Signals) -> None:
    """A job that a cluster stops must not look finished; the same command goes on."""
    overrides = [*RUN, f"paths.runs={tmp_path}", "trainer.max_epochs=400", "schedule.cycles=0"]
    process = Forked("-m", "alpl", *overrides)
    for _ in range(600):
        if list(tmp_path.rglob("fit_0.ckpt")):
            break
        time.sleep(0.1)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode not in (0, 2)
    assert not RunFolder(next(tmp_path.rglob("run.json")).parent).is_finished
