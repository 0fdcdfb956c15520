"""Intervals and tests for a handful of seeds: Welch's interval, paired differences, bootstrap, Holm's correction."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.special import stdtr, stdtrit

LEVEL = 0.95
FEW_SEEDS = 3  # below, no interval of differences and no test is given
MOST_EXACT = 6  # up to so many differences all resamples are listed: 6^6 = 46,656
RESAMPLES = 10_000


@final
@dataclass(frozen=True)
class Sample:
    """Mean and sample standard deviation (n - 1) of some seeds; a std of None is not known."""

    mean: float
    std: float | None
    num_seeds: int


def welch_half_width(ours: Sample, other: Sample | None = None) -> float:
    r"""Half the width of the 95 % interval of a difference of two means (Welch, 1947).

    .. math:: t_{.975, \nu} \sqrt{s_1^2 / n_1 + s_2^2 / n_2}, \quad
        \nu = \frac{(s_1^2 / n_1 + s_2^2 / n_2)^2}{(s_1^2 / n_1)^2 / (n_1 - 1) + (s_2^2 / n_2)^2 / (n_2 - 1)}

    Args:
        ours: at least two seeds.
        other: taken as exact where it is None or has no deviation or fewer than two seeds.

    Raises:
        ValueError: ``ours`` has fewer than two seeds or no deviation.

    >>> round(welch_half_width(Sample(70.0, 1.0, 4)), 4)  # 3.1824 * 1 / 2
    1.5912
    """
    if ours.std is None or ours.num_seeds < 2:
        raise ValueError(f"ours must have a deviation over at least 2 seeds, got {ours}")
    known = [one for one in (ours, other) if one is not None and one.std is not None and one.num_seeds > 1]
    parts = [(one.std or 0.0) ** 2 / one.num_seeds for one in known]
    if not sum(parts):
        return 0.0
    freedom = sum(parts) ** 2 / sum(part**2 / (one.num_seeds - 1) for part, one in zip(parts, known, strict=True))
    return float(stdtrit(freedom, (1 + LEVEL) / 2)) * math.sqrt(sum(parts))


def bootstrap_interval(differences: Sequence[float], seed: int = 0) -> tuple[float, float] | None:
    """Percentile interval (95 %) of the mean of paired differences; None below three of them.

    Up to six differences all n^n resamples are listed, so that nothing is drawn; with more, 10,000 are drawn with
    ``seed``. With few seeds such an interval is too narrow: it never leaves the range of what was measured.

    >>> bootstrap_interval([1.0, 2.0])
    >>> bootstrap_interval([1.0, 1.0, 1.0])
    (1.0, 1.0)
    """
    number = len(differences)
    if number < FEW_SEEDS:
        return None
    values = np.asarray(differences, dtype=np.float64)
    if number <= MOST_EXACT:
        chosen = np.array(list(itertools.product(range(number), repeat=number)))
    else:
        chosen = np.random.default_rng(seed).integers(0, number, (RESAMPLES, number))
    low, high = np.quantile(values[chosen].mean(1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf")
    return float(low), float(high)


def paired_p_value(differences: Sequence[float]) -> float | None:
    """Two-sided p-value of the paired t-test that the mean difference is 0; None below three differences.

    Differences without any spread give 1 where they are 0, else 0.

    >>> round(paired_p_value([1.0, 2.0, 3.0]), 4)  # t = 2 sqrt(3) with 2 degrees of freedom
    0.0742
    """
    number = len(differences)
    if number < FEW_SEEDS:
        return None
    mean = math.fsum(differences) / number
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in differences) / (number - 1))
    if not std:
        return 0.0 if mean else 1.0
    return float(2 * stdtr(number - 1, -abs(mean) / std * math.sqrt(number)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values for being several (Holm, 1979): the chance of any false finding stays below the level.

    The j-th smallest of m is multiplied by m - j + 1, and none is below one that was smaller. None stays None and
    does not count.

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p))
        adjusted[place] = highest
    return adjusted
