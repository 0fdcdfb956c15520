"""What a learning curve is worth: its area over the budget, and labels saved at equal accuracy.

Axes: E points of a curve. A curve is straight between its points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np


@final
@dataclass(frozen=True, eq=False)
class Curve:
    """One run's metric against its labeled images.

    Args:
        labeled: ``Float[E]`` labeled images, ascending.
        values: ``Float[E]`` the metric, the higher the better.
        objects: ``Float[E]`` labeled objects; None where they were not counted.

    Raises:
        ValueError: the arrays do not fit, or ``labeled`` does not ascend.
    """

    labeled: np.ndarray
    values: np.ndarray
    objects: np.ndarray | None = None

    def __post_init__(self) -> None:
        arrays = [self.values] + ([] if self.objects is None else [self.objects])
        if any(array.shape != self.labeled.shape for array in arrays) or (np.diff(self.labeled) <= 0).any():
            raise ValueError(f"labeled must ascend, one for each value, got {self.labeled.tolist()}")

    def at(self, labeled: float) -> float:
        """Give the metric at a number of labeled images within the curve."""
        return float(np.interp(labeled, self.labeled, self.values))

    def objects_at(self, labeled: float) -> float:
        """Give the labeled objects at a number of labeled images within the curve."""
        assert self.objects is not None, "the caller asks for curves with objects only"
        return float(np.interp(labeled, self.labeled, self.objects))

    def area(self, low: float, high: float) -> float:
        """Mean height between two numbers of labeled images: the area under the curve over its width.

        >>> Curve(np.array([10.0, 20.0, 40.0]), np.array([0.5, 0.7, 0.8])).area(10, 40)  # (6 + 15) / 30
        0.7
        """
        between = self.labeled[(self.labeled > low) & (self.labeled < high)]
        places = np.array([low, *between, high])
        heights = np.interp(places, self.labeled, self.values)
        return float(np.sum((heights[1:] + heights[:-1]) / 2 * np.diff(places)) / (high - low))

    def reach(self, value: float, low: float, high: float) -> float:
        """Give the fewest labeled images, of those between ``low`` and ``high``, at which the curve has ``value``.

        ``high`` where it never has.
        """
        between = self.labeled[(self.labeled > low) & (self.labeled < high)]
        places = np.array([low, *between, high])
        heights = np.interp(places, self.labeled, self.values)
        reached = np.flatnonzero(heights >= value)
        if not len(reached):
            return high
        first = int(reached[0])
        if first == 0:
            return low
        share = (value - heights[first - 1]) / (heights[first] - heights[first - 1])
        return float(places[first - 1] + share * (places[first] - places[first - 1]))


def common_range(curves: Sequence[Curve]) -> tuple[float, float] | None:
    """Give the numbers of labeled images that all curves have; None where they have no stretch in common."""
    low = max(float(curve.labeled[0]) for curve in curves)
    high = min(float(curve.labeled[-1]) for curve in curves)
    return (low, high) if low < high else None


def images_saved(ours: Curve, reference: Curve, low: float, high: float) -> float:
    """Give the labeled images that ours needs less than the reference for the same value.

    The value is the lower one of the two at ``high``, so that both have it; it counts where a curve first has it.
    Negative where ours needs more.

    >>> ours = Curve(np.array([10.0, 30.0]), np.array([0.5, 0.9]))
    >>> reference = Curve(np.array([10.0, 30.0]), np.array([0.5, 0.7]))
    >>> images_saved(ours, reference, 10, 30), images_saved(reference, ours, 10, 30)  # 0.7 is reached at 20
    (10.0, -10.0)
    """
    needed, theirs = _needed(ours, reference, low, high)
    return theirs - needed


def objects_saved(ours: Curve, reference: Curve, low: float, high: float) -> float:
    """Give the labeled objects that :func:`images_saved` stands for; both curves must know their objects."""
    needed, theirs = _needed(ours, reference, low, high)
    return reference.objects_at(theirs) - ours.objects_at(needed)


def _needed(ours: Curve, reference: Curve, low: float, high: float) -> tuple[float, float]:
    value = min(ours.at(high), reference.at(high))
    return ours.reach(value, low, high), reference.reach(value, low, high)
