"""How hard KITTI's objects are to see (Geiger et al. 2012, and the benchmark's development kit)."""

from __future__ import annotations

from typing import NamedTuple


class Level(NamedTuple):
    """An object is of a level, or of an easier one, if it is at least so high and at most so hidden.

    Args:
        name: as the benchmark calls it.
        height: pixels of its box, in the original image; of a detection, too.
        occluded: 0 fully visible, 1 partly occluded, 2 largely occluded, 3 unknown.
        truncated: share that lies outside the image, in [0, 1].
    """

    name: str
    height: float
    occluded: int
    truncated: float


LEVELS = (Level("easy", 40.0, 0, 0.15), Level("moderate", 25.0, 1, 0.3), Level("hard", 25.0, 2, 0.5))
"""Each allows what the one before does, so that one number says of which an object is."""


def level_of(height: float, occluded: int, truncated: float) -> int:
    """Give the easiest level that an object is of; ``len(LEVELS)`` where it is harder than all.

    >>> level_of(40.0, 0, 0.15), level_of(39.9, 0, 0.0), level_of(90.0, 2, 0.5), level_of(24.9, 0, 0.0)
    (0, 1, 2, 3)
    """
    for number, level in enumerate(LEVELS):
        if height >= level.height and occluded <= level.occluded and truncated <= level.truncated:
            return number
    return len(LEVELS)
