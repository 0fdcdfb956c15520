"""Runs `alpl` again and again, killed (-9) at random moments, until it finishes; prints what happened as JSON.

A process of its own: it imports everything once and forks a child for each attempt, so that an attempt starts at
once and many fit into a test.

    python tests/kill_harness.py SEED NUM_KILLS MEAN_SECONDS -- <overrides of alpl>
"""

import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import alpl.commands.main
import alpl.commands.one_run  # before the fork: the imports take most of a short run


def attempt(overrides: list[str], kill_after_s: float | None, prepare: Callable[[], None] = lambda: None) -> int:
    """Run in a child, killed that long after it has said that it starts or goes on; give the wait status.

    ``prepare`` is called in the child before it runs.
    """
    said = size_of_logs(overrides)
    child = os.fork()
    if child == 0:
        sys.argv = ["alpl", *overrides]
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
        code = 0
        prepare()
        try:
            alpl.commands.main.cli()
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            code = 70
        os._exit(code)
    if kill_after_s is not None:
        while size_of_logs(overrides) == said and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.005)
        time.sleep(kill_after_s)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def runs_of(overrides: list[str]) -> Path:
    return Path(next(o for o in overrides if o.startswith("paths.runs=")).partition("=")[2])


def size_of_logs(overrides: list[str]) -> int:
    return sum(path.stat().st_size for path in runs_of(overrides).rglob("run.log"))


def main() -> None:
    seed, num_kills, mean_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    overrides = sys.argv[sys.argv.index("--") + 1 :]
    draw = random.Random(seed)
    killed = killed_in_fit = 0
    for _ in range(num_kills):
        status = attempt(overrides, draw.uniform(0, 2 * mean_s))
        if os.WIFSIGNALED(status):
            killed += 1
            killed_in_fit += any(runs_of(overrides).rglob("fit_*.ckpt"))
        elif os.WEXITSTATUS(status) != 0:
            raise SystemExit(f"alpl ended with status {os.WEXITSTATUS(status)}")
        else:
            break
    status = attempt(overrides, None)
    print(json.dumps({"killed": killed, "killed_in_fit": killed_in_fit, "status": status}))


if __name__ == "__main__":
    main()
