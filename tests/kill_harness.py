"""Runs `alpl` again and again, killed (-9) at random places, until it finishes; prints what happened as JSON.

A place is a number of files that have got their names since the attempt began, or of checkpoints of a fit: what a run
has done, so that a quick machine's runs are killed where a slow one's are. By turns the run dies as soon as a
checkpoint has its name, and a random moment behind a file. A process of its own: it imports everything once and forks
a child for each attempt, so that an attempt starts at once and many fit into a test.

    python tests/kill_harness.py SEED NUM_KILLS MEAN_SECONDS FILES CHECKPOINTS -- <overrides of alpl>

The counts are those of an undisturbed run, which is told by NUM_KILLS=0, and MEAN_SECONDS what it took for each kill.
"""

import contextlib
import json
import mmap
import os
import random
import signal
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import alpl.commands.main
import alpl.commands.one_run  # before the fork: the imports take most of a short run


class Renames:
    """Files that have got their names in a child, and checkpoints of a fit among them: numbers shared with it."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 16)

    def counts(self) -> tuple[int, int]:
        files, checkpoints = struct.unpack("qq", self._shared[:])
        return files, checkpoints

    def clear(self) -> None:
        self._shared[:] = bytes(16)

    def watch(self, die_at: int = 0) -> None:
        """In the child: count, and die with the so many-th checkpoint."""
        replace = Path.replace

        def counted(path: Path, target: Any) -> Path:
            made = replace(path, target)
            files, checkpoints = self.counts()
            is_checkpoint = Path(target).match("fit_*.ckpt")
            self._shared[:] = struct.pack("qq", files + 1, checkpoints + is_checkpoint)
            if is_checkpoint and checkpoints + 1 == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return made

        Path.replace = counted  # type: ignore[method-assign, assignment]

    def kill_behind(self, number: int, delay_s: float, child: int) -> None:
        """Kill it so long after its so many-th file, unless it ends before."""
        while self.counts()[0] < number and os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            time.sleep(0.002)
        time.sleep(delay_s)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def attempt(
    overrides: list[str], prepare: Callable[[], None], disturb: Callable[[int], None] = lambda child: None
) -> int:
    """Run in a child; give the wait status. ``prepare`` is called in it before it runs, ``disturb`` here by its id."""
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
    disturb(child)
    return os.waitpid(child, 0)[1]


def runs_of(overrides: list[str]) -> Path:
    return Path(next(o for o in overrides if o.startswith("paths.runs=")).partition("=")[2])


def main() -> None:
    seed, num_kills, mean_s, files, checkpoints = (json.loads(word) for word in sys.argv[1:6])
    overrides = sys.argv[sys.argv.index("--") + 1 :]
    draw, renames = random.Random(seed), Renames()
    killed = killed_in_fit = 0
    for number in range(num_kills):
        renames.clear()
        if number % 2 == 0 and checkpoints:
            place = draw.randint(1, max(1, 2 * checkpoints // num_kills))
            status = attempt(overrides, partial(renames.watch, place))
        else:
            place = draw.randint(1, max(1, 2 * files // num_kills))
            delay_s = draw.uniform(0, 2 * mean_s * num_kills / files)  # on the mean what lies between two files
            status = attempt(overrides, renames.watch, partial(renames.kill_behind, place, delay_s))
        if os.WIFSIGNALED(status):
            killed += 1
            killed_in_fit += any(runs_of(overrides).rglob("fit_*.ckpt"))
        elif os.WEXITSTATUS(status) != 0:
            raise SystemExit(f"alpl ended with status {os.WEXITSTATUS(status)}")
        else:
            break
    renames.clear()
    status = attempt(overrides, renames.watch)
    counts = dict(zip(("files", "checkpoints"), renames.counts(), strict=True))
    print(json.dumps({"killed": killed, "killed_in_fit": killed_in_fit, "status": status, **counts}))


if __name__ == "__main__":
    main()
