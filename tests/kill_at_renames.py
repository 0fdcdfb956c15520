"""Runs `alpl` again and again until it finishes, killed (-9) just before a file of its first cycle gets its name.

The first attempt is killed before the first such file, the next one, which goes on, before the second that it comes to,
and so on until one comes to the end. The journal is such a file, too, and so is a product when it becomes whole. Prints
the wait statuses of the attempts as JSON.

    python tests/kill_at_renames.py -- <overrides of alpl>
"""

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

from kill_harness import attempt

from alpl.cycle.training import Training
from alpl.sharing.first_cycle import FirstCycle

MOST = 60


def die_at(number: int) -> None:
    """Let this process kill itself before the so many-th file of its first cycle, counted from 1."""
    share, test, replace = FirstCycle.share, Training.test, Path.replace
    counts, shares, renamed = [False], [False], [0]

    def counted(path: Path, target: Any) -> Path:
        if counts[0]:
            renamed[0] += 1
            if renamed[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
        return replace(path, target)

    def shared(first_cycle: FirstCycle, *arguments: Any) -> None:
        counts[0] = shares[0] = True
        share(first_cycle, *arguments)
        shares[0] = False

    def tested(training: Training, *arguments: Any) -> None:
        test(training, *arguments)
        counts[0] = shares[0]

    FirstCycle.share, Training.test, Path.replace = shared, tested, counted


def main() -> None:
    overrides = sys.argv[sys.argv.index("--") + 1 :]
    statuses: list[int] = []
    while (not statuses or statuses[-1] == signal.SIGKILL) and len(statuses) < MOST:
        statuses.append(attempt(overrides, partial(die_at, len(statuses) + 1)))
    print(json.dumps(statuses))


if __name__ == "__main__":
    main()
