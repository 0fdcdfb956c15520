"""Starts programs without their imports: a process that has imported alpl, torch and Lightning, and forks for each.

Reads requests from its input, a line of JSON each, and answers each with a line; ends, and kills what is left, when
its input ends or a line is empty. What is forked goes through the ordinary end of an interpreter, as it leaves
``serve`` to become the program.
Started by ``forked``; requests: see :class:`Request`.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import configs
import lightning.pytorch.strategies.launchers.subprocess_script as launcher
from lightning.fabric.utilities.rank_zero import _get_rank, rank_zero_only

import alpl.commands.one_run  # noqa: F401  what a run needs

Request = dict[str, Any]  # argv: as of python (-m MODULE, -c CODE or FILE, and what follows); env; cwd; out; err


def serve() -> Request:
    """Fork for each request; comes back in the children alone."""
    children: dict[int, int | None] = {}  # wait statuses of those that have ended
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    for line in iter(lambda: sys.stdin.readline().strip(), ""):
        request = json.loads(line)
        if "poll" in request:
            pid = request["poll"]
            if children[pid] is None:
                ended, status = os.waitpid(pid, os.WNOHANG)
                children[pid] = status if ended else None
            answers.write(json.dumps(children[pid]) + "\n")
            continue
        pid = os.fork()
        if pid == 0:
            answers.close()
            os.setsid()
            return request
        children[pid] = None
        answers.write(json.dumps(pid) + "\n")
    for pid in [pid for pid, status in children.items() if status is None]:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    raise SystemExit


def become(request: Request) -> None:
    """Run the program as an interpreter would that was started with the request's arguments."""
    _open(request)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    rank_zero_only.rank = _get_rank() or 0  # as Lightning finds it when it is imported
    signal.signal(signal.SIGINT, signal.default_int_handler)
    option, argv = request["argv"][0], request["argv"][1:]
    sys.path[:1] = [str(Path.cwd()), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), sys.path[0]]
    if option not in ("-m", "-c"):
        sys.argv = [option, *argv]
        sys.path.insert(0, str(Path(option).parent))
        runpy.run_path(option, run_name="__main__")
        return
    sys.argv = [option if option == "-c" else argv[0], *argv[1:]]
    if option == "-m":
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
        return
    main = sys.modules["__main__"]
    main.__spec__ = None
    exec(compile(argv[0], "<string>", "exec"), {"__name__": "__main__"})


def _open(request: Request) -> None:
    for number, name in ((0, os.devnull), (1, request.get("out")), (2, request.get("err"))):
        if name:
            opened = os.open(name, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_APPEND)
            os.dup2(opened, number)
            os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, buffering=1, closefd=False)  # noqa: SIM115
        for number, mode in enumerate("rww")
    )


class Spare:
    """A process forked from a program before it has begun, to be the second of a group when Lightning starts it.

    Its parent is the first process, as if that one had started an interpreter. Waits for its request, and ends when the
    first process ends without one.

    Args:
        reads, writes: a pipe's ends.
    """

    def __init__(self) -> None:
        self._reads, self._writes = os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()

    def wait_for_request(self) -> Request | None:
        """In the spare: its request; none where it is not needed."""
        os.close(self._writes)
        with os.fdopen(self._reads) as stream:
            line = stream.readline()
        return json.loads(line) if line else None

    def start(self, command: list[str], env: dict[str, str], cwd: str | None) -> Spare:
        """What Lightning calls in place of ``subprocess.Popen``."""
        assert command[0] == sys.executable, command
        with os.fdopen(self._writes, "w") as stream:
            stream.write(json.dumps({"argv": command[1:], "env": env, "cwd": cwd or os.getcwd()}) + "\n")  # noqa: PTH109
        return self

    def poll(self) -> int | None:
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def with_spare(request: Request) -> Request | None:
    """Keep a spare; give, in the first process, the request itself, and in the spare its own or none."""
    _open(request)
    spare = Spare()
    if spare.pid == 0:
        return spare.wait_for_request()
    os.close(spare._reads)
    os.set_inheritable(spare._writes, False)
    launcher.subprocess = SimpleNamespace(Popen=spare.start)  # type: ignore[assignment]
    return request | {"out": None, "err": None}


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: pytest ends, and then this process
    assert threading.active_count() == 1 and len(os.listdir("/proc/self/task") if sys.platform == "linux" else [0]) == 1  # noqa: PTH208
    configs.composed()  # so that the children find the config files read
    asked: Request | None = serve()
    if asked is not None and any("strategy=ddp" in word for word in asked["argv"]):
        asked = with_spare(asked)
    if asked is not None:
        become(asked)
