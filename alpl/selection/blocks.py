"""How large the blocks of a computation may be, so that a limit on the memory beside its inputs (bytes) is kept."""

from __future__ import annotations

MEMORY_LIMIT = 2**28
"""Bytes that a computation may take beside its inputs and its result where nobody says otherwise: 256 MiB."""


def rows_per_block(memory_limit: int, bytes_per_row: int, *, at_least: int = 1) -> int:
    """Give the number of rows that fit.

    Args:
        memory_limit: in bytes.
        bytes_per_row: what a row of the block takes, temporary values included.
        at_least: rows below which the computation makes no sense.

    Raises:
        ValueError: ``at_least`` rows do not fit, or an argument is not positive.

    >>> rows_per_block(2**20, 4 * 1000)
    262
    """
    if bytes_per_row < 1 or at_least < 1:
        raise ValueError(f"bytes_per_row and at_least must be positive, got {bytes_per_row} and {at_least}")
    if memory_limit < at_least * bytes_per_row:
        raise ValueError(f"memory_limit must be at least {at_least * bytes_per_row} bytes here, got {memory_limit}")
    return memory_limit // bytes_per_row
