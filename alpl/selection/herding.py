r"""Generalized coverage (MaxHerding, Bae et al. 2024), also of uncertainty (Uncertainty Herding, Bae et al. 2025).

Axes: U candidates, L labeled, F features, b picks, n rows of a block.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from alpl.selection.blocks import MEMORY_LIMIT
from alpl.selection.pairs import Points

_SAME = 1e-12  # squared distances below this share of the largest squared length are rounding
_DIGITS = 36  # of gains that count
_GROUP = 32  # candidates whose gains are brought up to date at a time


def herding(
    features: Tensor,
    labeled: Tensor,
    budget: int,
    *,
    weights: Tensor | None = None,
    sigma: float = 1.0,
    normalize: bool = True,
    memory_limit: int = MEMORY_LIMIT,
) -> tuple[Tensor, Tensor]:
    r"""Pick the candidate that adds most to the coverage of all candidates, again and again.

    .. math:: C(S) = \frac1U \sum_n w_n \max_{l \in S} k(x_n, x_l), \qquad
        k(x, x') = \exp\Big( -\frac{\lVert x - x' \rVert^2}{\sigma^2} \Big)

    where S begins with the labeled images. With w = 1 it is MaxHerding, with an uncertainty as w Uncertainty Herding.
    Labeled images are covered by themselves, so that they add nothing to the sum.

    Gains only fall as S grows (the coverage is submodular), so an old gain is a bound, and candidates are brought up to
    date in the order of their bounds until the first one is (Minoux 1978): the picks are those of the loop that
    computes all gains again. Two candidates that are the nearest of each other often gain the same, so gains count to
    36 binary digits of the largest: first index on ties.

    O(U^2 F) time once, and O(U F) for each gain brought up to date; no U x U matrix is held.

    Args:
        features: ``Float[U F]``.
        labeled: ``Float[L F]``, L may be 0.
        budget: b.
        weights: ``Float[U]``, not negative; 1 where absent.
        sigma: of the kernel; 1 in MaxHerding.
        normalize: scale the features to length 1, as the papers do.
        memory_limit: bytes for a block, beside 16 (U + L) F.

    Returns:
        ``Long[b]`` picks in order, and ``Float64[b]`` what each added.

    Raises:
        ValueError: shapes do not fit, a value is not finite or a weight is negative, or an argument is out of range.
    """
    number = len(features)
    if features.ndim != 2 or labeled.ndim != 2 or features.shape[1] != labeled.shape[1]:
        shapes = f"{list(features.shape)} and {list(labeled.shape)}"
        raise ValueError(f"features and labeled must be [U F] and [L F], got {shapes}")
    if not 0 <= budget <= number:
        raise ValueError(f"budget must be in [0, {number}] candidates, got {budget}")
    if not 0 < sigma < float("inf"):
        raise ValueError(f"sigma must be finite and > 0, got {sigma}")
    points = Points(torch.cat([features, labeled]).cpu(), normalize=normalize, memory_limit=memory_limit)
    coverage = _Coverage(points, number, _checked_weights(weights, number), sigma)
    everyone = torch.arange(number)
    bounds = coverage.gains(everyone) if budget else torch.empty(0, dtype=torch.float64)
    fresh = torch.ones(number, dtype=torch.bool)
    picks, values = [], []
    for _ in range(budget):
        while not fresh[best := int(bounds.argmax())]:
            some = bounds.topk(min(_GROUP, number)).indices
            some = torch.cat([some[~fresh[some]], torch.tensor([best])]).unique()
            bounds[some], fresh[some] = coverage.gains(some), True
        picks.append(best)
        values.append(float(bounds[best]))
        coverage.add(best)
        fresh[:] = False
        bounds[picks], fresh[picks] = -torch.inf, True  # fresh: no group of stale bounds brings a pick back
    return torch.tensor(picks, dtype=torch.long), torch.tensor(values, dtype=torch.float64)


def labeled_sigma(labeled: Tensor, *, normalize: bool = True, memory_limit: int = MEMORY_LIMIT) -> float:
    """Give the smallest distance between two labeled images that differ: the sigma of Uncertainty Herding.

    As labels grow it falls, and coverage turns into uncertainty. 1 where no two differ, as MaxHerding has it.

    Args:
        labeled: ``Float[L F]``.
        normalize: as for :func:`herding`.
        memory_limit: bytes for a block of distances.

    Raises:
        ValueError: a value is not finite, or they are no matrix.
    """
    points = Points(labeled.cpu(), normalize=normalize, memory_limit=memory_limit)
    # equal points: what products leave of them is no distance
    least = torch.inf
    for _, squared in points.blocks(torch.arange(len(points))):
        apart = squared[squared > _SAME * points.largest]
        least = min(least, float(apart.min())) if len(apart) else least
    return least**0.5 if least < torch.inf else 1.0


class _Coverage:
    """How much of each candidate is covered, and what others would add."""

    def __init__(self, points: Points, number: int, weights: Tensor, sigma: float) -> None:
        self._points, self._weights, self._scale = points, weights / max(number, 1), -1 / sigma**2
        self._candidates = torch.arange(number)
        self._unit = 0.0  # of gains; not known before the first are
        self.covered = torch.zeros(number, dtype=torch.float64)
        labeled = torch.arange(number, len(points))
        if len(labeled):
            for rows, squared in points.blocks(self._candidates, labeled):
                self.covered[rows] = squared.amin(1).mul_(self._scale).exp_()

    def gains(self, rows: Tensor) -> Tensor:
        """``Float64[n]``."""
        parts = [
            squared.mul_(self._scale).exp_().sub_(self.covered).clamp_(min=0) @ self._weights
            for _, squared in self._points.blocks(rows, self._candidates)
        ]
        found = torch.cat(parts)
        if not self._unit:
            self._unit = math.ldexp(float(found.max()), -_DIGITS) or 1.0
        return (found / self._unit).round_().mul_(self._unit)

    def add(self, pick: int) -> None:
        """Cover what a candidate covers."""
        kernel = self._points.squared(torch.tensor([pick]), self._candidates)[0].mul_(self._scale).exp_()
        self.covered = self.covered.maximum(kernel)


def _checked_weights(weights: Tensor | None, number: int) -> Tensor:
    if weights is None:
        return torch.ones(number, dtype=torch.float64)
    if weights.shape != (number,):
        raise ValueError(f"weights must be Float[{number}], got shape {list(weights.shape)}")
    values = weights.detach().cpu().double()
    if not bool(values.isfinite().all()) or (number and float(values.min()) < 0):
        raise ValueError(f"weights must be finite and not negative, got a least of {float(values.min()):.6g}")
    return values
