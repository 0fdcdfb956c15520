r"""k-center greedy with class balance (thesis Algorithm 2).

Axes: N unlabeled images, L centers, F features, C classes, n members of a group, b picks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from alpl.selection.blocks import MEMORY_LIMIT, rows_per_block
from alpl.selection.exact_sum import tree_sum
from alpl.selection.feature_spaces import EuclideanSpace
from alpl.selection.nearest_distances import NearestDistances, leading

_GROUP = 1024  # images that the first group holds; it grows and shrinks with its yield
_LARGEST_GROUP = 4096
_GONE = -1.0  # the squared distance of a pick: no other pick is nearer


def balanced_kcenter(
    features: Tensor,
    centers: Tensor,
    probs: Tensor,
    targets: Tensor,
    weight: float,
    budget: int,
    *,
    memory_limit: int = MEMORY_LIMIT // 8,
) -> tuple[Tensor, Tensor]:
    r"""Pick one image after the other, far from all centers and picks and of a class that is lacking.

    .. math:: \psi = \arg\min_j \; -d_j + \lambda \lVert R - P_j \rVert_1, \qquad R = \Omega - \sum_{i \in s} P_i

    with the distance d to the nearest center or pick and the picks s (thesis Algorithm 2; in its line 5 the picked
    sample leaves Q). First index on ties. Without centers all distances are 0 until the first pick.

    The picks are those of the obvious algorithm. As picks are added, a distance d only falls, and what a norm is above
    the norm of R only grows: for :math:`p \ge 0` and :math:`r' \le r`, :math:`|r' - p| - |r - p| \ge |r'| - |r|`. So an
    old value of either bounds what an image is worth. A group of those with the largest bounds is brought up to date,
    then picks are made inside it for as long as the best member is above every bound outside it.

    The distances are those of :func:`alpl.selection.kcenter.kcenter_greedy`, the norms sums in float64 with a defined
    order, so the picks depend neither on blocks and threads nor on the device.

    Time: O((n L' + n^2) F) a group, with the centers L' that its members have not seen, O(n C) a pick inside it, and a
    pass over N bounds for each group; at worst that of the obvious algorithm, O(N (F + C)) a pick.

    Args:
        features: ``Float[N F]``; read as float32.
        centers: ``Float[L F]``.
        probs: ``Float[N C]``, P.
        targets: ``Float[C]``, Omega, see :func:`alpl.selection.class_balance.class_targets`.
        weight: lambda, >= 0.
        budget: b.
        memory_limit: bytes for blocks, beside 80 for each image and center.

    Returns:
        ``Long[b]`` picks in order, and ``Float64[b]`` the distance of each when it was picked.

    Raises:
        ValueError: shapes do not fit, a value is not finite, ``weight`` or ``budget`` is out of range, or
            ``memory_limit`` is too small for a block.
    """
    _check(features, centers, probs, targets, weight, budget)
    space = EuclideanSpace(features, centers, memory_limit)
    state = _State(space, probs, targets.double(), weight, budget)
    picks: list[int] = []
    distances: list[float] = []
    if budget and not len(centers):
        picks, distances = [state.start()], [0.0]
    largest = state.largest_group()
    size = min(_GROUP, largest)
    bounds = state.bounds()
    while len(picks) < budget:
        group, outside, first_outside = leading(bounds, size)
        worth = bounds[group] = state.settle(group, outside)
        # those that are still ahead of what is outside
        group = group[(worth > outside) | ((worth == outside) & (group < first_outside))]
        found = state.pick(group, outside, first_outside, budget - len(picks))
        picks += [pick for pick, _ in found]
        distances += [distance for _, distance in found]
        if found:
            bounds = state.bounds()
        if len(found) >= size // 4 or not found:
            size = min(2 * size, largest)
        elif len(found) < size // 16:
            size = max(size // 2, min(_GROUP, largest))
    return torch.tensor(picks, dtype=torch.long, device=features.device), torch.tensor(distances, dtype=torch.float64)


class _State:
    """For every image bounds of its distance and of its excess ``|R - P|_1 - |R|_1``.

    Args:
        space: of the features.
        probs: ``Float[N C]``.
        targets: ``Float64[C]``, the first R.
        weight: lambda.
        budget: b.
    """

    def __init__(self, space: EuclideanSpace, probs: Tensor, targets: Tensor, weight: float, budget: int) -> None:
        self._space, self._probs, self._rest, self._weight = space, probs, targets, weight
        self._nearest = NearestDistances(space)
        self._excess = -probs.sum(1, dtype=torch.float64)  # the least there is, and exact while R >= P in every class
        self._free = torch.ones(len(probs), dtype=torch.bool, device=probs.device)
        self._margin = 0.0  # what rounding may take from a bound
        # no norm of R or R - P is larger
        self._largest = float(targets.abs().sum()) + (budget + 1) * -float(self._excess.min()) if len(probs) else 0.0

    def largest_group(self) -> int:
        """Give the most images that keep the memory limit, with their probabilities, twice, in float64."""
        most = rows_per_block(self._space.memory_limit // 4, 16 * max(self._probs.shape[1], 1))
        return max(min(self._space.group_size(), most, _LARGEST_GROUP), 1)

    def start(self) -> int:
        """Pick the first image where there is no center: all distances are 0."""
        blocks = torch.arange(len(self._probs), device=self._free.device).split(self.largest_group())
        pick = int((self._weight * torch.cat([self._norms(block) for block in blocks])).argmin())
        self._nearest.start(pick)
        self._take(pick)
        return pick

    def bounds(self) -> Tensor:
        """``Float64[N]``: no image is worth more; minus infinity for the picks."""
        distances = self._nearest.upper.sqrt()
        if self._weight and len(distances):  # sums of C terms in any order, and a few steps around them
            steps = self._weight * self._largest * (5 * len(self._rest) + 64) + float(distances.max())
            self._margin = 2 * torch.finfo(torch.float64).eps * steps
        worth = distances.sub_(self._excess + self._total(), alpha=self._weight).add_(self._margin)
        return worth.masked_fill_(~self._free, -math.inf)

    def settle(self, group: Tensor, outside: float) -> Tensor:
        """``Long[n]`` -> ``Float64[n]``: what these images are worth; minus infinity for the picks.

        Exactly, but where that is below ``outside`` a bound below it will do.
        """
        norms = self._norms(group)
        self._excess[group] = norms - self._total()
        # the distance from which on an image is ahead, and a little less, as it is rounded
        matters = (outside + self._weight * norms).sub_(self._margin).clamp_(min=0).square_().mul_(1 - 1e-12)
        worth = self._nearest.settle(group, matters).sqrt() - self._weight * norms
        return worth.masked_fill_(~self._free[group], -math.inf)

    def pick(self, group: Tensor, outside: float, first_outside: int, budget: int) -> list[tuple[int, float]]:
        """Pick greedily inside a group that is up to date, while a pick is certain: picks and their distances."""
        found: list[tuple[int, float]] = []
        if not len(group):
            return found
        squared, closer, probs = self._nearest.upper[group], self._space.within(group), self._probs[group].double()
        total, limit = self._total(), outside
        while len(found) < budget:
            norms = tree_sum((self._rest - probs).abs_())
            distances = squared.clamp(min=0).sqrt_()
            worth = (distances - self._weight * norms).masked_fill_(~self._free[group], -math.inf)
            member = int(worth.argmax())  # the first of equal maxima
            value, pick = float(worth[member]), int(group[member])
            if value < limit or (value == limit and pick > first_outside) or value == -math.inf:
                break
            found.append((pick, float(distances[member])))
            self._take(pick)
            squared[member] = _GONE
            squared = closer(member, squared)
            limit = outside + self._weight * (total - self._total()) + self._margin
        self._nearest.add([pick for pick, _ in found], group, squared.clamp_(min=0))
        return found

    def _take(self, pick: int) -> None:
        self._free[pick] = False
        self._rest = self._rest - self._probs[pick].double()

    def _norms(self, images: Tensor) -> Tensor:
        return tree_sum((self._rest - self._probs[images].double()).abs_())

    def _total(self) -> float:
        return float(self._rest.abs().sum())


def _check(features: Tensor, centers: Tensor, probs: Tensor, targets: Tensor, weight: float, budget: int) -> None:
    number = len(features)
    if features.ndim != 2 or centers.ndim != 2 or features.shape[1] != centers.shape[1]:
        shapes = f"{list(features.shape)} and {list(centers.shape)}"
        raise ValueError(f"features and centers must be [N F] and [L F], got {shapes}")
    if probs.shape != (number, len(targets)) or targets.ndim != 1:
        raise ValueError(
            f"probs and targets must be [{number} C] and [C], got {list(probs.shape)}, {list(targets.shape)}"
        )
    for name, values in (("features", features), ("centers", centers), ("probs", probs), ("targets", targets)):
        if not bool(values.isfinite().all()):
            raise ValueError(f"{name} must be finite, got NaN or infinite values")
    if number and not (float(probs.min()) >= 0 and float(probs.max()) <= 1):
        raise ValueError(f"probs must be in [0, 1], got {float(probs.min())} to {float(probs.max())}")
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"weight must be finite and >= 0, got {weight}")
    if not 0 <= budget <= number:
        raise ValueError(f"budget must be in [0, {number}] images, got {budget}")
