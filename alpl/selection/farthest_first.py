r"""Farthest-first traversal in any space, with many picks proved at once.

Axes: U candidates, L centers, n members of a group, b picks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from alpl.selection.nearest_distances import NearestDistances, leading
from alpl.selection.spaces import AbstractSpace

_GROUP = 512  # candidates that the first group holds; it grows and shrinks with its yield
_GONE = -1.0  # the distance of what has been picked: below all others


def farthest_first(space: AbstractSpace, budget: int) -> tuple[Tensor, Tensor]:
    r"""Pick b candidates, each the farthest from all centers and picks so far; first index on ties.

    .. math:: u = \arg\max_i \min_{j \in s} d(x_i, x_j)

    The picks are those of the loop that brings all distances up to date after each pick. A distance only falls as
    centers are added, so an old one bounds it from above. A group of those with the largest bounds is brought up to
    date in one product with all centers that each has not seen, then greedy picks are made inside the group for as long
    as the farthest member is above every bound outside it. All other candidates are left alone.

    Time: O((n L' + n^2) W) a group, with the centers L' not seen; no more than O(U (L + b) W) altogether beside a pass
    over U bounds for each group. A member is left alone once its bound is below those outside. Memory: three values for
    each candidate, and the blocks of the space.

    Args:
        space: of the candidates and centers.
        budget: b, at most U.

    Returns:
        ``Long[b]`` picks in order, and ``Float64[b]`` the distance at which each was picked, infinite where there was
        neither a center nor a pick.
    """
    nearest = NearestDistances(space)
    nearest.screen(budget)
    picks: list[int] = []
    distances: list[float] = []
    if budget and not space.num_centers:
        nearest.start(0)  # all are infinitely far: the first index
        nearest.upper[0] = _GONE
        picks, distances = [0], [float("inf")]
    largest = max(min(space.group_size(), 4096), 1)
    size = min(_GROUP, largest)
    while len(picks) < budget:
        group, outside, first_outside = leading(nearest.upper, size)
        upper = nearest.settle(group, torch.full_like(group, outside, dtype=torch.float64))
        # those that are still ahead of what is outside
        group = group[(upper > outside) | ((upper == outside) & (group < first_outside))]
        found = _pick(space, nearest, group, outside, first_outside, budget - len(picks))
        picks += [pick for pick, _ in found]
        distances += [distance for _, distance in found]
        if len(found) >= size // 4:
            size = min(2 * size, largest)
        elif len(found) < size // 16:
            size = max(size // 2, min(_GROUP, largest))
    return torch.tensor(picks, dtype=torch.long, device=space.device), torch.tensor(distances, dtype=torch.float64)


def _pick(
    space: AbstractSpace, nearest: NearestDistances, group: Tensor, outside: float, first_outside: int, budget: int
) -> list[tuple[int, float]]:
    """Pick greedily inside a group that is up to date, while a pick is certain: picks and their distances."""
    found: list[tuple[int, float]] = []
    if not len(group):
        return found
    distances, closer = nearest.upper[group], space.within(group)
    while len(found) < budget:
        member = int(distances.argmax())  # the first of equal maxima
        distance, pick = float(distances[member]), int(group[member])
        if distance < outside or (distance == outside and pick > first_outside) or distance == _GONE:
            break
        found.append((pick, distance))
        distances[member] = _GONE
        distances = closer(member, distances)
    nearest.add([pick for pick, _ in found], group, distances)
    return found
