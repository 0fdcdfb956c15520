"""Runs `alpl` again and again until it finishes, killed (-9) so many times, each time with new points in wandb's files.

wandb's service writes in blocks, and loses what is not yet written when its process is killed: a kill by the clock
mostly comes before the first block, so that there is nothing to log twice. Prints the wait statuses of the attempts as
JSON.

    python tests/kill_once_logged.py NUM_KILLS -- <overrides of alpl>
"""

import json
import os
import signal
import sys
from functools import partialmethod

from kill_harness import attempt

from alpl.loggers.wandb_files import OfflinePieces
from alpl.loggers.wandb_run import WandbRun

# a killed process's service is gone at once: an attempt need not wait long for what it may write
OfflinePieces.__init__ = partialmethod(OfflinePieces.__init__, patience_s=3.0)


def die_once_logged() -> None:
    """Let this process kill itself once the files hold more points than when it began."""
    follow, held = WandbRun.follow, []

    def followed(run: WandbRun) -> None:
        follow(run)
        held.append(run._pieces._found())
        if held[-1] > held[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    WandbRun.follow = followed


def main() -> None:
    overrides = sys.argv[sys.argv.index("--") + 1 :]
    killed = [attempt(overrides, die_once_logged) for _ in range(int(sys.argv[1]))]
    print(json.dumps([*killed, attempt(overrides, lambda: None)]))


if __name__ == "__main__":
    main()
