"""Which process of a group this is, and that none outlives the one that started it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, distributed


def rank() -> int:
    """This process's number in its group, from 0; known from the environment before the group exists."""
    return int(rank_zero_only.rank)  # type: ignore[attr-defined]  # Lightning sets it when it is imported


def over_processes(sums: Tensor) -> tuple[Tensor, int]:
    """Add up the numbers of all processes of the group, which must all ask; also give how many they are."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return sums, 1
    total = sums.clone()
    distributed.all_reduce(total)
    return total, distributed.get_world_size()


_PARENT = "ALPL_PARENT"  # process 0's id, for those that it starts


@contextmanager
def told_as_parent() -> Iterator[None]:
    """Let the processes that this one starts know whose they are."""
    os.environ[_PARENT] = str(os.getpid())
    try:
        yield
    finally:
        os.environ.pop(_PARENT, None)


def end_with_parent() -> None:
    """End this process, whatever it is at, when the one that started it is gone: a collective would wait for ever.

    That one may be gone by now, after seconds of imports. Who was started from elsewhere (SLURM, torchrun) was not told
    who that is, and has the parent that it finds.
    """
    parent = int(os.environ.get(_PARENT, os.getppid()))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
