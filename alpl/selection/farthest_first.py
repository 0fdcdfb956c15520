r"""Farthest-first traversal in any space, with many picks proved at once.

Axes: U candidates, L centers, n members of a group, b picks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from alpl.selection.spaces import AbstractSpace

_GROUP = 512  # candidates that the first group holds; it grows and shrinks with its yield
_FIRST_SHARE = 5  # one center of so many gives the first upper bounds
_GONE = -1.0  # the distance of what has been picked: below all others


def farthest_first(space: AbstractSpace, budget: int) -> tuple[Tensor, Tensor]:
    r"""Pick b candidates, each the farthest from all centers and picks so far; first index on ties.

    .. math:: u = \arg\max_i \min_{j \in s} d(x_i, x_j)

    The picks are those of the loop that brings all distances up to date after each pick. A distance only falls as
    centers are added, so an old one bounds it from above. A group of those with the largest bounds is brought up to
    date in one product with all centers that each has not seen, then greedy picks are made inside the group for as long
    as the farthest member is above every bound outside it. All other candidates are left alone.

    Time: O((n L' + n^2) W) a group, with the centers L' not seen; no more than O(U (L + b) W) altogether beside a pass
    over U bounds for each group. Memory: three values for each candidate, and the blocks of the space.

    Args:
        space: of the candidates and centers.
        budget: b, at most U.

    Returns:
        ``Long[b]`` picks in order, and ``Float64[b]`` the distance at which each was picked, infinite where there was
        neither a center nor a pick.
    """
    state = _State(space)
    picks: list[int] = []
    distances: list[float] = []
    if budget and not space.num_centers:
        state.start(0)  # all are infinitely far: the first index
        picks, distances = [0], [float("inf")]
    largest = max(min(space.group_size(), 4096), 1)
    size = min(_GROUP, largest)
    while len(picks) < budget:
        group, outside, first_outside = state.top(size)
        group = state.refresh(group, outside, first_outside)
        found = state.pick(group, outside, first_outside, budget - len(picks))
        picks += [pick for pick, _ in found]
        distances += [distance for _, distance in found]
        if len(found) >= size // 4:
            size = min(2 * size, largest)
        elif len(found) < size // 16:
            size = max(size // 2, min(_GROUP, largest))
    return torch.tensor(picks, dtype=torch.long, device=space.device), torch.tensor(distances, dtype=torch.float64)


class _State:
    """Upper bounds of all candidates, and how many centers each has been compared with exactly."""

    def __init__(self, space: AbstractSpace) -> None:
        self._space = space
        number = space.num_candidates
        self._centers = torch.arange(number, number + space.num_centers, device=space.device)
        self._seen = torch.zeros(number, dtype=torch.long, device=space.device)
        # some of the centers rule out most candidates; evenly spaced, as labeled images may be sorted by class
        self._upper = (
            space.bound(self._centers[::_FIRST_SHARE])
            if len(self._centers)
            else torch.full((number,), torch.inf, dtype=torch.float64, device=space.device)
        )

    def start(self, pick: int) -> None:
        """Make the first center of a candidate."""
        self._centers = torch.tensor([pick], device=self._space.device)
        self._upper = self._space.bound(self._centers)
        self._upper[pick], self._seen[pick] = _GONE, 1

    def top(self, size: int) -> tuple[Tensor, float, int]:
        """Give the first ``size`` candidates by bound, then index, ascending; and bound and index of the next one."""
        number = len(self._upper)
        if size >= number:
            return torch.arange(number, device=self._upper.device), _GONE, number
        outside = self._upper.topk(size + 1).values[-1]
        above = self._upper > outside
        level = (self._upper == outside).nonzero().flatten()
        missing = size - int(above.sum())
        above[level[:missing]] = True
        return above.nonzero().flatten(), float(outside), int(level[missing])

    def refresh(self, group: Tensor, outside: float, first_outside: int) -> Tensor:
        """Bring the group up to date; give those of its members that are still ahead of what is outside."""
        seen = self._seen[group]
        # two products: with all centers for those that have seen none, and with what the others have not seen
        for rows in (group[seen == 0], group[(seen > 0) & (seen < len(self._centers))]):
            if not len(rows):
                continue
            upper, since = self._upper[rows], int(self._seen[rows].min())
            known = upper if since else torch.full_like(upper, torch.inf)
            self._upper[rows] = self._space.settle(rows, self._centers[since:], upper, known)
            self._seen[rows] = len(self._centers)
        upper = self._upper[group]
        return group[(upper > outside) | ((upper == outside) & (group < first_outside))]

    def pick(self, group: Tensor, outside: float, first_outside: int, budget: int) -> list[tuple[int, float]]:
        """Pick greedily inside a group that is up to date, while a pick is certain."""
        found: list[tuple[int, float]] = []
        if not len(group):
            return found
        distances, closer = self._upper[group], self._space.within(group)
        while len(found) < budget:
            member = int(distances.argmax())  # the first of equal maxima
            distance, pick = float(distances[member]), int(group[member])
            if distance < outside or (distance == outside and pick > first_outside) or distance == _GONE:
                break
            found.append((pick, distance))
            distances[member] = _GONE
            distances = closer(member, distances)
        picks = torch.tensor([pick for pick, _ in found], dtype=torch.long, device=group.device)
        self._centers = torch.cat([self._centers, picks])
        self._upper[group], self._seen[group] = distances, len(self._centers)
        return found
