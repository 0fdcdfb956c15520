"""Which number of a column is the best beyond the chance of a few seeds."""

from __future__ import annotations

from collections.abc import Sequence

from alpl.report.judged.intervals import Sample, welch_half_width
from alpl.report.read.aggregate import Point
from alpl.report.read.tables import WideTable

RULE = (
    "Bold: the best mean of a column, where the 95 % interval of its difference to every other row (Welch) does not "
    "contain 0."
)


def is_ahead(here: Sample, others: Sequence[Sample]) -> bool:
    """Whether the 95 % intervals of the differences to all others do not contain 0.

    A mean of a single seed has no interval, and is ahead of nothing.

    >>> is_ahead(Sample(0.9, 0.01, 3), [Sample(0.8, 0.01, 3)]), is_ahead(Sample(0.81, 0.01, 3), [Sample(0.8, 0.01, 3)])
    (True, False)
    """
    if any(one.std is None or one.num_seeds < 2 for one in (here, *others)):
        return False
    return all(abs(here.mean - one.mean) > welch_half_width(here, one) for one in others)


def is_best(table: WideTable, line: int, column: int) -> bool:
    """Whether a number is the best of its column, and that can be told from every other."""
    here, cells = table.cells[line][column], [row[column] for row in table.cells]
    if here is None or not table.is_best(line, column):
        return False
    others = [_sample(one) for place, one in enumerate(cells) if one is not None and place != line]
    return is_ahead(_sample(here), others)


def _sample(point: Point) -> Sample:
    return Sample(point.mean, point.std, point.num_seeds)
