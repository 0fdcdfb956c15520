"""Whether a claim holds: a paired test over seeds, and the power that it had."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

from scipy.special import nctdtr, stdtrit

from alpl.report.judged.intervals import FEW_SEEDS, LEVEL, Sample, paired_p_value, welch_half_width
from alpl.report.read.aggregate import mean_std

Word = Literal["holds", "does not hold", "cannot tell"]


@final
@dataclass(frozen=True)
class ClaimVerdict:
    """What the seeds say of "this row is better than that one".

    Args:
        word: the verdict.
        reason: the sentence that goes with it.
        differences: this row less that one, seed by seed of those that both measured, in the order of the seeds that
            were planned; positive where the claim is right.
        missing: planned seeds that a row has not measured.
        interval: 95 % interval of the mean difference (Student's); None with fewer than three differences.
        p_value: of the two-sided paired t-test; None likewise.
        power: the probability that a difference as large as the claim's would have been seen; None likewise.
    """

    word: Word
    reason: str
    differences: tuple[float, ...]
    missing: tuple[int, ...]
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    power: float | None = None


def judge_claim(
    ours: Mapping[int, float], other: Mapping[int, float], *, seeds: Sequence[int], difference: float
) -> ClaimVerdict:
    """Judge the claim that ``ours`` is higher than ``other``.

    It holds where the 95 % interval of the mean paired difference lies above 0. It does not hold where the interval
    lies below ``difference``: one that matters is then as unlikely as a difference of 0 is where the claim holds.
    Between the two nothing can be told, and the power says whether more could have been expected of so many seeds.
    A claim whose planned seeds are not all there is not judged: whoever looks after each seed and stops at the first
    pleasant verdict errs more often than one time in twenty.

    Args:
        ours: seed -> metric of the row that the claim praises, higher is better.
        other: the same of the row that it is told against.
        seeds: that were planned for the verdict; others in the mappings (those of tuning) are not looked at.
        difference: the smallest that matters, in the metric's unit.

    Raises:
        ValueError: ``difference`` is not a positive number, ``seeds`` are none or repeated, or a value is not finite.
    """
    if not (math.isfinite(difference) and difference > 0):
        raise ValueError(f"difference must be a finite number > 0, got {difference}")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be at least one and each named once, got {list(seeds)}")
    paired = [seed for seed in seeds if seed in ours and seed in other]
    for name, row in (("ours", ours), ("other", other)):
        if strange := {seed: row[seed] for seed in paired if not math.isfinite(row[seed])}:
            raise ValueError(f"{name} must be finite in every seed, got {strange}")
    differences = tuple(ours[seed] - other[seed] for seed in paired)
    missing = tuple(seed for seed in seeds if seed not in paired)
    if len(differences) < FEW_SEEDS:
        reason = f"{len(differences)} of {len(seeds)} seeds are there, a test needs {FEW_SEEDS}"
        return ClaimVerdict("cannot tell", reason, differences, missing)
    mean, std = mean_std(differences)
    half = welch_half_width(Sample(mean, std, len(differences)))
    interval = (mean - half, mean + half)
    power = paired_power(difference, std or 0.0, len(differences))
    word, reason = _verdict(interval, len(differences), missing, difference, power)
    return ClaimVerdict(word, reason, differences, missing, interval, paired_p_value(differences), power)


def paired_power(difference: float, std: float, num_seeds: int) -> float:
    r"""The probability that a paired t-test finds a true mean difference, and in its direction.

    .. math:: P(T > t_{.975, n - 1}), \quad T \sim t'_{n - 1}(\delta), \quad \delta = d \sqrt{n} / s

    where t' is the noncentral t distribution (Cohen, Statistical Power Analysis, 1988, ch. 2). The deviation is taken
    as known although it was measured, so with few seeds the power is itself uncertain.

    Args:
        difference: the true mean difference d, > 0.
        std: deviation s of the differences between seeds; with 0 every difference is seen.
        num_seeds: n, at least 2.

    Raises:
        ValueError: an argument is out of its range.

    >>> round(paired_power(1.0, 1.0, 10), 3)
    0.803
    """
    if not (math.isfinite(difference) and difference > 0):
        raise ValueError(f"difference must be a finite number > 0, got {difference}")
    if not (math.isfinite(std) and std >= 0):
        raise ValueError(f"std must be a finite number >= 0, got {std}")
    if num_seeds < 2:
        raise ValueError(f"num_seeds must be at least 2, got {num_seeds}")
    if not std:
        return 1.0
    threshold = float(stdtrit(num_seeds - 1, (1 + LEVEL) / 2))
    shift = difference * math.sqrt(num_seeds) / std
    # far beyond the threshold the power is 1 to the last digit, and scipy's series may not end
    return 1.0 if shift > 10 * threshold + 30 else float(1 - nctdtr(num_seeds - 1, shift, threshold))


def _verdict(
    interval: tuple[float, float], number: int, missing: Sequence[int], difference: float, power: float
) -> tuple[Word, str]:
    seen = f"with {number} seeds a difference of {difference:g} would have been seen with probability {power:.2f}"
    if missing:
        return "cannot tell", f"seeds {', '.join(map(str, missing))} are missing; {seen}"
    low, high = interval
    told = f"the 95 % interval of the difference is {low:.4g} to {high:.4g}"
    if low > 0:
        return "holds", told
    if high < difference:
        return "does not hold", f"{told}, below {difference:g}"
    return "cannot tell", seen
