"""Is a number of the paper reproduced? The rule, for one number and for a row of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, final, get_args

from alpl.report.judged.intervals import Sample, welch_half_width

Word: TypeAlias = Literal["reproduced", "trend only", "not reproduced", "cannot tell"]
WORDS: tuple[Word, ...] = get_args(Word)

RULE = (
    "Reproduced: the 95 % interval of the difference (Welch; the paper's deviation and seeds where both are known, "
    "else ours alone; plus half of the last printed digit) contains 0, and its half width is at most the median gain "
    "that the paper prints over its reference row (or the stated tolerance).",
    "Trend only: the interval does not contain 0, but our gain over the reference row has the sign of the paper's, "
    "and its own 95 % interval does not contain 0.",
    "Not reproduced: the interval does not contain 0, and our gain does not have the paper's sign beyond its own "
    "interval; the reference row, which has no gain, cannot be trend only.",
    "Cannot tell: fewer than two seeds, an interval that contains 0 but is too wide to tell rows apart, no reference "
    "row to tell a trend by, another setting than the experiment's (other data, model, schedule or trainer), or a "
    "number that the paper itself contradicts.",
    "A row is cannot tell where that or nothing is said of half of its printed numbers or more; else reproduced "
    "where all numbers that can be told are, trend only where more than half of them are that or reproduced, and "
    "not reproduced otherwise.",
)
"""What :func:`judge` and :func:`judge_row` do, for the page."""


@final
@dataclass(frozen=True)
class Verdict:
    """What can be said of a number or a row, and why."""

    word: Word
    reason: str


@final
@dataclass(frozen=True)
class Gain:
    """What a row gains over the reference row in one column: the paper's, ours, half the width of our interval."""

    paper: float
    ours: float
    half_width: float

    @property
    def agrees(self) -> bool:
        """Whether ours has the paper's sign beyond its own interval; a gain of 0 has no sign."""
        return bool(self.paper) and math.copysign(1.0, self.paper) * self.ours > self.half_width


def judge(
    ours: Sample,
    paper: Sample,
    *,
    bound: float | None,
    gain: Gain | None,
    is_reference: bool = False,
    digit: float = 0.0,
) -> Verdict:
    """Judge one number by :data:`RULE`.

    Args:
        ours: in the paper's unit.
        paper: as printed; a deviation without a number of seeds (0) is not used.
        bound: the widest half width that still tells something; None where there is no such.
        gain: over the reference row; None where that is not known.
        is_reference: the number is the reference row's own, which has no gain.
        digit: half of the last printed digit: what rounding may have taken from the paper's number.
    """
    if ours.num_seeds < 2 or ours.std is None:
        return Verdict("cannot tell", "fewer than 2 seeds")
    difference = ours.mean - paper.mean
    if not math.isfinite(difference):
        return Verdict("cannot tell", "ours is no finite number")
    half = welch_half_width(ours, paper) + digit
    told = f"{difference:+.3g} ± {half:.2g}"
    if abs(difference) <= half:
        if bound is None:
            return Verdict("cannot tell", f"{told}; nothing says how wide an interval may be")
        if half > bound:
            return Verdict("cannot tell", f"{told} is wider than ± {bound:.2g}")
        return Verdict("reproduced", told)
    if is_reference:
        return Verdict("not reproduced", told)
    if gain is None:
        return Verdict("cannot tell", f"{told}, and no reference row of ours with 2 seeds to tell the trend by")
    trend = f"gain {gain.ours:+.3g} ± {gain.half_width:.2g}, the paper's {gain.paper:+.3g}"
    return Verdict("trend only" if gain.agrees else "not reproduced", f"{told}; {trend}")


def judge_row(cells: Sequence[Verdict | None]) -> Verdict:
    """Judge a row by :data:`RULE`.

    Args:
        cells: one for each number that the paper prints; None where there is none of ours.

    Raises:
        ValueError: there is no number.
    """
    if not cells:
        raise ValueError("cells must hold a verdict or None for each printed number, got none")
    counts = Counter(cell.word for cell in cells if cell is not None)
    num_told = sum(counts[word] for word in WORDS if word != "cannot tell")
    parts = [f"{counts[word]} {word}" for word in WORDS if counts[word]]
    absent = len(cells) - counts.total()
    reason = ", ".join(parts + ([f"{absent} without a number of ours"] if absent else []))
    if 2 * num_told <= len(cells):
        return Verdict("cannot tell", reason)
    if counts["reproduced"] == num_told:
        return Verdict("reproduced", reason)
    is_trend = 2 * (counts["reproduced"] + counts["trend only"]) > num_told
    return Verdict("trend only" if is_trend else "not reproduced", reason)
