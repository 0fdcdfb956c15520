"""Which process of a group this is."""

from __future__ import annotations

from lightning.pytorch.utilities import rank_zero_only


def rank() -> int:
    """This process's number in its group, from 0; known from the environment before the group exists."""
    return int(rank_zero_only.rank)  # type: ignore[attr-defined]  # Lightning sets it when it is imported
