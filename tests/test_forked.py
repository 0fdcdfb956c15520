"""What is forked for a test runs, ends and is signalled like an interpreter of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from forked import Forked

pytestmark = pytest.mark.slow

CODE = """
import os, sys
print(os.getcwd(), sys.argv[1:], os.environ.get("MINE"))
print("told", file=sys.stderr)
print(os.getsid(0) == os.getpid(), file=sys.stderr)
"""


def test_it_ends_as_an_interpreter_does(tmp_path: Path) -> None:
    environment = os.environ | {"MINE": "yes"}
    ours = Forked("-c", CODE, "a", "b", cwd=tmp_path, env=environment)
    theirs = subprocess.run(
        [sys.executable, "-c", CODE, "a", "b"], cwd=tmp_path, env=environment, capture_output=True, text=True,
        start_new_session=True, check=True,
    )  # fmt: skip
    assert ours.communicate(60) == (theirs.stdout, theirs.stderr) and ours.returncode == 0
    joined = Forked("-c", CODE, cwd=tmp_path, joined=True)
    assert "told" in joined.communicate(60)[0]


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [("import sys; sys.exit(3)", 3, ""), ("1 / 0", 1, "ZeroDivisionError"), ("import os; os.abort()", -6, "")],
)
def test_its_status_is_told(code: str, status: int, said: str) -> None:
    process = Forked("-c", code)
    assert said in process.communicate(60)[1] and process.returncode == status


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGKILL, -9)]
)
def test_a_signal_reaches_it_alone(tmp_path: Path, number: signal.Signals, status: int) -> None:
    code = f"import pathlib, time; pathlib.Path({str(tmp_path / 'there')!r}).touch(); time.sleep(60)"
    process, other = Forked("-c", code), Forked("-c", "import time; time.sleep(60)")
    while not (tmp_path / "there").exists():
        assert process.poll() is None
    process.send_signal(number)
    assert process.wait(30) == status and other.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        other.wait(0.1)
    other.kill()
    assert other.wait(30) == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):  # reaped
        os.kill(other.pid, 0)
