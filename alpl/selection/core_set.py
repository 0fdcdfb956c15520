r"""The robust core-set (Sener and Savarese 2018): k-center with outliers.

Axes: U candidates, L centers, F features, b picks.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alpl.selection.blocks import MEMORY_LIMIT, rows_per_block
from alpl.selection.cover import can_cover
from alpl.selection.feature_spaces import EuclideanSpace
from alpl.selection.kcenter import kcenter_greedy
from alpl.selection.nearest_distances import NearestDistances, leading

EXACT_UP_TO = 2000
"""Candidates up to which the integer program is asked."""


class CoreSet(NamedTuple):
    """What was chosen, and how good it is."""

    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody asks of a choice
    """``Long[b]`` picks, farthest first."""
    distances: Tensor
    """``Float64[b]``: of each pick to the nearest center or earlier pick."""
    radius: float
    """All candidates but the outliers are within this distance of a center or pick."""
    bound: float
    """No choice has a smaller radius."""

    @property
    def gap(self) -> float:
        """``(radius - bound) / radius``; at most 0.5 for the greedy start without outliers."""
        return (self.radius - self.bound) / self.radius if 0 < self.radius < math.inf else 0.0


def core_set(
    features: Tensor,
    centers: Tensor,
    budget: int,
    *,
    num_outliers: int = 0,
    seconds_a_step: float = 60.0,
    exact_up_to: int = EXACT_UP_TO,
    memory_limit: int = MEMORY_LIMIT,
) -> CoreSet:
    r"""Choose b candidates so that all candidates but :math:`\Xi` lie within the least radius of a center or pick.

    Sener and Savarese 2018, Algorithm 2: start from k-center greedy, then bisect the radius over the distances that
    exist, asking an integer program whether b picks can cover within it all but :math:`\Xi` candidates
    (:func:`alpl.selection.cover.can_cover`). The paper starts from half the greedy radius as a lower bound, which holds
    without outliers only. Here the bound comes from the first :math:`b + \Xi + 1` picks of the greedy traversal, which
    are at least the distance r of the last one from each other and from all centers. Below r no center covers one of
    them, so two that are no outliers share a pick: the radius is at least r or the least distance of any candidate to
    its second nearest of them. That is r / 2 at worst, and far more where many features make all distances alike.

    For more than ``exact_up_to`` candidates the answer is the greedy start with that bound. Where the solver does not
    decide within ``seconds_a_step``, the search goes on above that radius, and the bound stays below it; such an answer
    depends on the machine.

    Time: k-center greedy, a product of all candidates and picks, and about ``2 log2 U`` integer programs. Memory: 18
    bytes for each pair of up to ``exact_up_to`` candidates, and what the solver takes.

    Args:
        features: ``Float[U F]``.
        centers: ``Float[L F]``, L may be 0.
        budget: b.
        num_outliers: :math:`\Xi`; the paper has 1e-4 of all points.
        seconds_a_step: for the solver at each radius.
        exact_up_to: candidates.
        memory_limit: bytes for blocks, beside the pairs of the exact search.

    Raises:
        ValueError: as :func:`alpl.selection.kcenter.kcenter_greedy`; or ``num_outliers`` is negative, or
            ``seconds_a_step`` is not positive.
    """
    if num_outliers < 0 or not seconds_a_step > 0:
        raise ValueError(f"num_outliers must be >= 0 and seconds_a_step > 0, got {num_outliers}, {seconds_a_step}")
    number = len(features)
    if not 0 <= budget <= number:
        raise ValueError(f"budget must be in [0, {number}] candidates, got {budget}")
    order, distances = kcenter_greedy(
        features, centers, min(budget + num_outliers + 1, number), memory_limit=memory_limit
    )
    start = order[:budget]
    radius = _radius(features, centers, start, num_outliers, memory_limit)
    enough = len(order) > budget + num_outliers and len(order) > 1
    bound = min(_bound(features, centers, order, float(distances[-1]), memory_limit), radius) if enough else 0.0
    if not budget:
        bound = radius
    if number <= exact_up_to and bound < radius:
        pairs = _distances(features, features)
        nearest = _nearest(features, centers, memory_limit)
        start, least = _bisect(pairs, nearest, start, (bound, radius), num_outliers, seconds_a_step)
        radius = _radius(features, centers, start, num_outliers, memory_limit)
        bound = min(max(bound, least), radius)
    if torch.equal(start, order[:budget]):
        return CoreSet(start, distances[:budget], radius, bound)
    among, far = kcenter_greedy(features[start], centers, budget, memory_limit=memory_limit)
    return CoreSet(start[among], far, radius, bound)


def _bound(features: Tensor, centers: Tensor, order: Tensor, apart: float, memory_limit: int) -> float:
    """Give what no radius is below, from enough points that are ``apart`` from each other and from all centers."""
    space = EuclideanSpace(features, centers, memory_limit)
    second = math.sqrt(float(space.lower_bounds(order, 2)[:, 1].min()))
    return max(apart / 2, min(apart, second * (1 - 1e-12)))  # the product bounds a square that was not rounded


def _radius(features: Tensor, centers: Tensor, picks: Tensor, num_outliers: int, memory_limit: int) -> float:
    """The distance to the nearest center or pick that all but the outliers keep."""
    if num_outliers >= len(features):
        return 0.0
    if not len(centers) + len(picks):
        return math.inf
    nearest = NearestDistances(EuclideanSpace(features, torch.cat([centers, features[picks]]), memory_limit))
    nearest.screen(num_outliers + 1)
    size = 2 * (num_outliers + 1)
    while True:
        group, outside, _ = leading(nearest.upper, size)
        distances = nearest.settle(group, torch.full_like(group, outside, dtype=torch.float64)).topk(num_outliers + 1)
        if float(distances.values[-1]) >= outside:  # so many are exact, and no other is farther
            return float(distances.values[-1].sqrt())
        size *= 2


def _bisect(
    pairs: NDArray[np.float64],
    nearest: NDArray[np.float64],
    start: Tensor,
    between: tuple[float, float],
    num_outliers: int,
    seconds: float,
) -> tuple[Tensor, float]:
    """Search the least radius that b picks cover; ``start`` covers the larger of ``between``. Picks and a bound.

    Args:
        pairs: ``Float[U U]`` distances of the candidates.
        nearest: ``Float[U]`` to the nearest center.
        start: ``Long[b]``.
        between: a bound, and the radius of ``start``.
        num_outliers: candidates that need not be covered.
        seconds: for the solver.
    """
    budget, picks = len(start), start.cpu().numpy()
    steps = np.unique(np.concatenate([pairs.ravel(), nearest[np.isfinite(nearest)]]))
    # a little wider: the ends were rounded in another order
    steps = steps[(steps >= between[0] * (1 - 1e-12)) & (steps <= between[1] * (1 + 1e-12))]
    low, high, proved = 0, len(steps) - 1, 0
    while low < high:
        middle = (low + high) // 2
        covers = pairs[nearest > steps[middle]] <= steps[middle]
        answer = can_cover(covers, budget, num_outliers, seconds)
        if answer.sets is None:
            low = middle + 1
            proved = low if answer.decided else proved
        else:
            picks = np.concatenate([answer.sets, picks[~np.isin(picks, answer.sets)]])[:budget]
            reached = np.sort(np.minimum(nearest, pairs[:, picks].min(1)))[len(nearest) - 1 - num_outliers]
            high = min(middle, int(np.searchsorted(steps, reached)))
    return torch.from_numpy(picks).to(start.device), float(steps[proved])


def _distances(ours: Tensor, theirs: Tensor) -> NDArray[np.float64]:
    """``Float64[n m]``: by differences."""
    left, right = ours.float().double().cpu(), theirs.float().double().cpu()
    distances: NDArray[np.float64] = torch.cdist(left, right, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    return distances


def _nearest(features: Tensor, centers: Tensor, memory_limit: int) -> NDArray[np.float64]:
    """``Float64[U]``: the distance to the nearest center, infinite without one."""
    nearest = np.full(len(features), np.inf)
    for some in centers.split(rows_per_block(memory_limit, 8 * len(features) + 24 * features.shape[1])):
        nearest = np.minimum(nearest, _distances(features, some).min(1, initial=np.inf))
    return nearest
