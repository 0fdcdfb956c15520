"""How hard each class was in training, beside the average precision that it then had (PPAL Fig. 2).

Axes: K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.stats import rankdata

from alpl.errors import DataError
from alpl.report.read.aggregate import Variant
from alpl.runs.results import RunResult


@final
@dataclass(frozen=True, eq=False)
class Difficulties:
    """The classes of one variant in one cycle, means over its seeds.

    Args:
        difficulty: ``Float[K]`` in [0, 1] at the end of the training.
        precision: ``Float[K]`` average precision in the test; NaN for a class without objects there.
    """

    difficulty: np.ndarray
    precision: np.ndarray

    @property
    def order(self) -> list[int]:
        """The classes by falling difficulty, the first of equal ones first; those without precision are left out."""
        falling = np.argsort(-self.difficulty, kind="stable").tolist()
        return [place for place in falling if not np.isnan(self.precision[place])]

    @property
    def correlation(self) -> float:
        """Spearman's rho of both over the classes that have a precision: -1 where harder is always less precise."""
        return rank_correlation(self.difficulty[self.order], self.precision[self.order])


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Give Spearman's rho: the correlation of ranks, equal values sharing the mean of theirs.

    Args:
        first: ``Float[n]``, finite.
        second: ``Float[n]``, finite.

    Returns:
        In [-1, 1]; NaN of less than two values, or where one of both is the same everywhere.

    >>> rank_correlation(np.array([3.0, 1.0, 2.0]), np.array([0.1, 0.7, 0.2]))
    -1.0
    """
    one, other = rankdata(first) - (len(first) + 1) / 2, rankdata(second) - (len(second) + 1) / 2
    scale = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / scale if scale else float("nan")


def difficulties(variant: Variant, notes: list[str]) -> dict[int, Difficulties]:
    """Give cycle -> its classes, ascending; empty where no run watched their difficulty.

    Args:
        variant: one row on one data set.
        notes: what cannot be read is named here (appended to).
    """
    told: dict[int, list[np.ndarray]] = {}
    for run in variant.runs:
        for result in run.cycles:
            try:
                both = _both(run, result.cycle)
            except DataError as error:
                notes.append(f"{run.folder.name}: the difficulties of cycle {result.cycle} are left out: {error}")
                continue
            if both is not None:
                told.setdefault(result.cycle, []).append(both)
    if len({one.shape for seeds in told.values() for one in seeds}) > 1:
        notes.append(f"{variant.label}: difficulties are not shown, as runs have different numbers of classes")
        return {}
    return {cycle: Difficulties(*np.mean(seeds, axis=0)) for cycle, seeds in sorted(told.items())}


def _both(run: RunResult, cycle: int) -> np.ndarray | None:
    """``Float[2 K]``: difficulty and precision of one run; None where one of both is not told."""
    hard, precise = run.difficulty(cycle), run.per_class(cycle)
    if not hard or not precise:
        return None
    if len(hard) != len(precise):
        raise DataError(f"{len(hard)} difficulties stand beside the precision of {len(precise)} classes")
    return np.array([hard, [float("nan") if value is None else value for value in precise]])
