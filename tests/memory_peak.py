"""How much memory a call takes, as Linux records it; for a process of its own, in which little else happens."""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

STATUS = Path("/proc/self/status")  # there on Linux alone
_M_MMAP_THRESHOLD = -3


def peak_of(call: Callable[[], object]) -> int:
    """Bytes of the address space that the call took at its peak, beside what was before it.

    The address space and not what is resident of it: a busy system takes pages of code from a process and brings
    them back with others around them, so that a call which needs 3 MiB was seen with 20. The least of three calls:
    what lies beside may add to a call, and takes nothing from it.

    Args:
        call: what is measured; its code should have been loaded, by a smaller call. Made in children.

    Raises:
        AssertionError: the call failed.
    """
    system = ctypes.CDLL(None)
    system.mallopt(_M_MMAP_THRESHOLD, 65536)  # freed blocks from 64 KiB on go back: what is taken is in use
    system.malloc_trim(0)
    return min(_peak_in_child(call) for _ in range(3))


def _peak_in_child(call: Callable[[], object]) -> int:
    """Measured in a fork, where a peak begins anew."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            before = _kib("VmSize")
            call()
            os.write(writes, str(_kib("VmPeak") - before).encode())
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as stream:
        peak = stream.read()
    os.waitpid(child, 0)
    assert peak, "the call failed"
    return 1024 * int(peak)


def _kib(name: str) -> int:
    lines = (line.split() for line in STATUS.read_text().splitlines())
    return next(int(words[1]) for words in lines if words[0] == f"{name}:")
