"""Killed while it makes or takes the first cycle, or trained by two processes: the run is the same."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from forked import Forked
from shared_runs import contents, row, taken

from alpl.runs.products import fault_of

TESTS = Path(__file__).parents[1]
KILL = TESTS / "kill_at_renames.py"
SMALL = ("trainer.max_epochs=2", "schedule.cycles=1", "num_threads=1", "checkpoint_every_s=0")
pytestmark = pytest.mark.slow


def started(runs: Path, *overrides: str, script: tuple[str, ...] = ("-m", "alpl"), **environment: str) -> Forked:
    return Forked(*script, f"paths.runs={runs}", *SMALL, *overrides, env=os.environ | environment, joined=True)


def output(process: Forked) -> str:
    try:
        text, _ = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, text
    return text


def killed(runs: Path, name: str) -> int:
    """Run a row, killed before each file of its first cycle in turn; give how often."""
    text = output(started(runs, f"acquisition={name}", script=(str(KILL), "--")))
    statuses = json.loads(text.splitlines()[-1])
    assert statuses[-1] == 0 and set(statuses[:-1]) == {signal.SIGKILL}
    return len(statuses) - 1


def test_killed_file_by_file_equals_undisturbed(tmp_path: Path) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    for name in ("dispersion", "random", "entropy"):
        output(started(alone, f"acquisition={name}", "share_first_cycle=false"))
    assert killed(shared, "dispersion") >= 6  # makes it: epochs, checkpoints, weights, results, and the product's files
    output(started(shared, "acquisition=random"))
    assert killed(shared, "entropy") >= 4  # takes it
    assert taken(row(shared, "entropy")).keys() == {"fit", "test"}
    for name in ("dispersion", "random", "entropy"):
        assert contents(row(shared, name)) == contents(row(alone, name))
    for product in (shared / ".cache" / "first_cycle").glob("[!.]*"):
        assert fault_of(product) is None


def test_two_processes_take_together(tmp_path: Path) -> None:
    """The first row's second process is started when the first one trains; of the second row both start at once."""
    two = ("trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy=ddp")
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    output(started(alone, "acquisition=entropy", "share_first_cycle=false", *two))
    output(started(shared, "acquisition=random", *two))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "GROUP_RANK": "0",
             "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "test"}  # fmt: skip
    ranks = [
        started(shared, "acquisition=entropy", *two, RANK=number, LOCAL_RANK=number, **group) for number in ("1", "0")
    ]
    for process in ranks:
        output(process)
    assert taken(row(shared, "entropy")).keys() == {"fit", "test"} and not taken(row(shared, "random"))
    assert contents(row(shared, "entropy")) == contents(row(alone, "entropy"))
