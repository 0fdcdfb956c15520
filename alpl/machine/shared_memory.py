"""The shared memory that worker processes hand their batches over in."""

from __future__ import annotations

import os
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
"""Where Linux keeps torch's shared tensors, whatever its sharing strategy."""


def free_shared_memory() -> int | None:
    """Give the bytes that are free; None where no folder says so (other systems)."""
    if not SHARED_MEMORY.exists():
        return None
    stats = os.statvfs(SHARED_MEMORY)
    return stats.f_bavail * stats.f_frsize
