"""How much memory a call takes, as Linux records it; for a process of its own, in which little else happens."""

import ctypes
from collections.abc import Callable
from pathlib import Path

CLEAR = Path("/proc/self/clear_refs")  # there on Linux alone
_KIB = 1024
_M_MMAP_THRESHOLD = -3


def peak_of(call: Callable[[], object]) -> int:
    """Bytes that were resident at the call's peak, beside what was before it.

    A busy system takes code pages from a process, and they come back when they are needed: 20 MiB of torch's
    libraries, in a call that needs 3. So a call in which pages of files came or went is made again.

    Args:
        call: what is measured; its code should have been loaded, by a smaller call.

    Raises:
        AssertionError: pages of files came or went in each of ten calls.
    """
    system = ctypes.CDLL(None)
    system.mallopt(_M_MMAP_THRESHOLD, 65536)  # freed blocks from 64 KiB on go back: what is resident is in use
    for _ in range(10):
        system.malloc_trim(0)
        CLEAR.write_text("5")  # forgets the peak so far
        before = _status()
        call()
        after = _status()
        if abs(after["RssFile"] - before["RssFile"]) <= 64 * _KIB:
            return after["VmHWM"] - before["VmRSS"]
    raise AssertionError(f"pages of files came or went in every call: {before}, {after}")


def _status() -> dict[str, int]:
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) * _KIB for words in lines if words[-1] == "kB"}
