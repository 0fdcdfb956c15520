"""alpl-status: every state a run can be in, with a run that is really killed and one that really fails."""

import contextlib
import errno
import io
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import TINY, alpl
from forked import Forked

from alpl.commands import status
from alpl.machine.files import write_text

SWEEP = ["acquisition=random,margin,dispersion,entropy", "callbacks=none", *TINY]
# dispersion fails before any training: without its callback nobody provides the history


def alpl_status(runs: Path, *arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        status.cli([*arguments, f"paths.runs={runs}"])
    return int(end.value.code or 0), out.getvalue(), err.getvalue()


def states(runs: Path) -> dict[str, tuple[str, str]]:
    code, out, _ = alpl_status(runs, "--json", "-m", *SWEEP)
    assert code == 1
    return {Path(run["folder"]).parent.name: (run["state"], run["detail"]) for run in json.loads(out)["runs"]}


@contextlib.contextmanager
def killed_run(runs: Path) -> Iterator[Path]:
    """A real run in a process of its own, held within its first cycle while the block runs, then killed (-9)."""
    write_text(runs.parent / "slow_margin.py", SLOW)
    code = f"import sys; sys.path.insert(0, {str(runs.parent)!r}); import slow_margin"
    process = Forked("-c", code, "acquisition=margin", "callbacks=none", *TINY, f"paths.runs={runs}")
    try:
        end = time.monotonic() + 120
        while not (runs.parent / "selecting").exists():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        yield next(runs.glob("digits/margin/*"))
    finally:
        process.kill()
        process.wait()


SLOW = """
import time
from pathlib import Path
from alpl.acquisition import Margin
from alpl import loop
from alpl.commands import main

def wait(*args, **kwargs):
    Path(__file__).with_name("selecting").touch()
    time.sleep(600)

loop.check_query = wait  # the select stage comes so far; rehearsals have their own name for it
main.cli()
"""


@pytest.mark.slow
def test_every_state_and_the_same_command_does_only_what_is_left(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert alpl(runs, "acquisition=random", "callbacks=none", *TINY).status == 0
    assert alpl(runs, "acquisition=dispersion", "callbacks=none", *TINY).status == 2
    with killed_run(runs) as folder:
        lock = (folder / "lock").read_text()
        assert states(runs)["margin"] == ("running", "predict of cycle 0 is done, the last cycle is 1")
        assert (folder / "lock").read_text() == lock and status.is_held(folder / "lock"), "it asks and takes nothing"
    found = states(runs)
    assert found["random"] == ("done", "") and found["entropy"] == ("missing", "")
    assert found["margin"] == ("unfinished", "predict of cycle 0 is done, the last cycle is 1")
    assert found["dispersion"][0] == "failed" and "Dispersion needs HISTORY" in found["dispersion"][1]
    assert not (runs / "digits" / "entropy").exists(), "it makes no folder"

    code, out, _ = alpl_status(runs, "-m", *SWEEP)
    assert code == 1 and out.splitlines()[-1] == "4 runs: 1 done, 1 failed, 1 unfinished, 1 missing"

    model = next(runs.glob("digits/margin/*/cycle_00/model.pt"))
    before = model.stat().st_mtime_ns
    again = alpl(runs, "-m", *SWEEP)
    assert again.status == 1 and again.err.count("finished already") == 1 and model.stat().st_mtime_ns == before
    found = states(runs)
    assert {row: state for row, (state, _) in found.items()} == {
        "random": "done", "margin": "done", "entropy": "done", "dispersion": "failed",
    }  # fmt: skip
    code, out, _ = alpl_status(runs, "-m", "acquisition=random,margin,entropy", "callbacks=none", *TINY)
    assert code == 0 and out.splitlines()[-1] == "3 runs: 3 done"


@pytest.mark.slow
def test_an_experiment_by_its_name_has_the_folders_that_its_command_makes(tmp_path: Path) -> None:
    tiny = ["method=random,entropy", "data=digits", "model=digits_cnn", "trainer=digits", "seed=0", *TINY[:1]]
    runs = tmp_path / "runs"
    code, out, _ = alpl_status(runs, "thesis/table3_1", *tiny, "--json")
    jobs = json.loads(out)
    states = ("done", "running", "failed", "broken", "waiting", "unfinished")
    assert code == 1 and jobs["counts"] == dict.fromkeys(states, 0) | {"missing": 2}
    alpl(runs, "+experiment=thesis/table3_1", *tiny)
    made = {str(path) for path in alpl(runs, "+experiment=thesis/table3_1", *tiny).run_folders()}
    assert {run["folder"] for run in jobs["runs"]} == made
    assert alpl_status(runs, "+experiment=thesis/table3_1", *tiny)[0] == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["thesis/table9"], "there are .*thesis/table3_1"),
        (["-m", "acquisition=entrophy"], "Could not find 'acquisition/entrophy'"),
        (["hydra/sweeper=elsewhere"], "elsewhere"),
    ],
)
def test_a_command_that_is_refused(tmp_path: Path, arguments, message) -> None:
    code, out, err = alpl_status(tmp_path, *arguments)
    assert code == 2 and not out and len(err.splitlines()) == 1
    assert re.search(message, err), err


def test_a_job_that_is_refused_has_failed(tmp_path: Path) -> None:
    code, out, _ = alpl_status(tmp_path, "-m", "seed=0,1.5", *TINY)
    assert code == 1 and "seed must be an int, got 1.5" in out
    assert out.splitlines()[-1] == "2 runs: 1 failed, 1 missing"


def test_a_lock_that_nobody_holds(tmp_path: Path) -> None:
    assert not status.is_held(tmp_path / "lock")
    write_text(tmp_path / "lock", f"process {os.getpid()} on here")  # its holder died: the text alone means nothing
    assert not status.is_held(tmp_path / "lock")


def test_where_files_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    write_text(tmp_path / "runs" / "t" / "lock", "")
    monkeypatch.setattr(status.fcntl, "fcntl", refuse)
    code, out, err = alpl_status(tmp_path / "runs")
    assert code == 2 and not out and len(err.splitlines()) == 1
    assert "paths.runs must lie where files can be locked ([Errno 37] No locks available)" in err


@pytest.mark.slow
def test_a_run_of_another_config_is_told_and_listed_on_request(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    old = alpl(runs, "acquisition=random", *TINY).run_folder()
    now = ("seed=0", "trainer.max_epochs=3", "schedule.cycles=1")
    differs = "has model.scheduler.T_max=2 (now 3), trainer.max_epochs=2 (now 3)"
    code, out, _ = alpl_status(runs, *now)
    line, counts = out.splitlines()
    assert code == 1 and counts == "1 run: 1 missing"
    assert line.endswith(f"{old.name} {differs}; --old lists 1 run of another config")
    code, out, _ = alpl_status(runs, *now, "--old")
    assert out.splitlines()[1].startswith("done ") and out.splitlines()[1].endswith(differs)
    assert "another config" not in alpl_status(runs, *now[1:], "seed=1")[1], "another seed is no older run"
    code, _, err = alpl_status(runs, "--old")
    assert code == 2 and "--old needs the command of a sweep" in err


def test_a_run_that_failed_after_a_stage_keeps_its_last_line(tmp_path: Path) -> None:
    write_text(tmp_path / "error.txt", "Traceback\n  line\nValueError: the end\n\n")
    assert status.state_of(tmp_path) == ("failed", "ValueError: the end")
    assert status.state_of(tmp_path / "nothing") == ("missing", "")


def test_without_a_name_all_runs_are_listed(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    code, out, err = alpl_status(runs)
    assert code == 2 and not out and "paths.runs must hold run folders" in err and str(runs) in err
    assert alpl(runs, "acquisition=random", *TINY, "table=of/mine").status == 0
    assert alpl(runs, "acquisition=dispersion", "callbacks=none", *TINY).status == 2
    code, out, _ = alpl_status(runs)
    failed, done, counts = out.splitlines()
    assert code == 1 and counts == "2 runs: 1 done, 1 failed"
    assert failed.startswith("failed ") and "digits/dispersion/digits-seed0-" in failed and "needs HISTORY" in failed
    assert done.startswith("done ") and "of/mine/random/digits-seed0-" in done
    code, out, _ = alpl_status(runs / "of", "--json")
    (run,) = json.loads(out)["runs"]
    assert code == 0 and run["overrides"] == [] and Path(run["folder"]).is_dir()
    assert alpl_status(runs, "seed=7")[1].splitlines()[-1] == "1 run: 1 missing", "with an override it is a command"
