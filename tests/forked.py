"""Programs in processes of their own, forked from one that has imported all: a start costs no seconds of imports."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent


class Forked:
    """A program that runs, with the part of ``subprocess.Popen`` that tests use.

    A session of its own; what it writes is kept in files, and both are one where ``err`` is ``STDOUT``.

    Args:
        argv: as of python: ``-m MODULE``, ``-c CODE`` or a file, and what follows.
        cwd: where; here, where absent.
        env: its environment; this process's, where absent.
        joined: whether errors go where the output goes.
    """

    def __init__(
        self, *argv: str, cwd: Path | None = None, env: dict[str, str] | None = None, joined: bool = False
    ) -> None:
        self._out = tempfile.NamedTemporaryFile("r", errors="replace")  # noqa: SIM115
        self._err = self._out if joined else tempfile.NamedTemporaryFile("r", errors="replace")  # noqa: SIM115
        self.returncode: int | None = None
        request = {"argv": argv, "cwd": str(cwd or Path.cwd()), "env": dict(os.environ if env is None else env)}
        self.pid = int(_server().ask(request | {"out": self._out.name, "err": self._err.name}))

    def poll(self) -> int | None:
        if self.returncode is None:
            status = _server().ask({"poll": self.pid})
            self.returncode = None if status is None else os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; both outputs, or the joined one and nothing."""
        self.wait(timeout)
        self._out.seek(0)
        out = self._out.read()
        return out, "" if self._err is self._out else self._err.read()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Server:
    """The process that forks, as long as this one lives."""

    def __init__(self) -> None:
        threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}  # a fork has one thread
        self._process = subprocess.Popen(
            [sys.executable, str(TESTS / "fork_server.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | threads, start_new_session=True,
        )  # fmt: skip
        self._lock = threading.Lock()
        atexit.register(self.close)

    def ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin and self._process.stdout
        with self._lock:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it has ended
            self._process.stdin.write("\n")  # what was forked from this process may hold its input open
            self._process.stdin.close()
        self._process.wait()


@cache
def _server() -> _Server:
    return _Server()
