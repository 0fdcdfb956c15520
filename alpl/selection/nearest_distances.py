"""Distances to the nearest center, bounded for all candidates and made exact for the few that a choice depends on.

Axes: U candidates, n members of a group, b picks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from alpl.selection.spaces import AbstractSpace

_SHARE = 10  # one center of so many gives the first upper bounds, and as many are compared with at a time
_FEWEST = 128  # columns that are worth a product
_WORTH = 2**20  # pairs that are worth one, where few rows are left
_SAMPLE = 32  # one candidate of so many tells how far the farthest are


class NearestDistances:
    """Upper bounds for all candidates, and how many centers and picks each has been compared with exactly.

    A distance only falls as centers are added, so an old one is a bound, and a candidate that falls below what matters
    is left alone from there on. Some of the centers rule out most candidates; evenly spaced ones come together, as
    labeled images may be sorted by class.

    Args:
        space: of the candidates and centers.
    """

    def __init__(self, space: AbstractSpace) -> None:
        self._space = space
        number, device = space.num_candidates, space.device
        centers = torch.arange(number, number + space.num_centers, device=device)
        self._step = max(-(-len(centers) // _SHARE), _FEWEST)
        share = max(-(-len(centers) // self._step), 1)
        # those of the first bounds come last: what they rule out they have ruled out already
        self._centers = torch.cat([centers[first::share] for first in (*range(1, share), 0)])
        self._seen = torch.zeros(number, dtype=torch.long, device=device)
        self.upper = (
            space.bound(centers[::share])
            if len(centers)
            else torch.full((number,), torch.inf, dtype=torch.float64, device=device)
        )
        """``Float64[U]``: no distance is above; exact for what is settled."""

    def start(self, pick: int) -> None:
        """Make the first center of a candidate."""
        self._centers = torch.tensor([pick], device=self._space.device)
        self.upper = self._space.bound(self._centers)
        self.upper[pick], self._seen[pick] = 0.0, 1

    def settle(self, group: Tensor, matters: Tensor) -> Tensor:
        """Bring some candidates up to date, each until its bound is below what matters; give the bounds.

        Args:
            group: ``Long[n]``.
            matters: ``Float64[n]``; bounds from here on are exact distances afterwards.
        """
        number = len(self._centers)
        left = (self._seen[group] < number).nonzero().flatten()
        while len(left):
            seen = self._seen[group[left]]
            since = int(seen.min())
            until = min(since + max(self._step, _WORTH // len(left)), number)
            self._compare(group[left[seen < until]], since, until)
            rows = group[left]
            left = left[(self._seen[rows] < number) & (self.upper[rows] >= matters[left])]
        return self.upper[group]

    def _compare(self, rows: Tensor, since: int, until: int) -> None:
        # a bound stands for what is known, as no later distance that attains it is ruled out by it
        upper = self.upper[rows]
        self.upper[rows] = self._space.settle(rows, self._centers[since:until], upper, upper)
        self._seen[rows] = until

    def screen(self, budget: int) -> None:
        """Bring those up to date that a traversal of b picks needs, all at once, as far as a sample tells.

        The b candidates that are farthest from the centers are needed: the last pick is no farther than any of them,
        and picks only lower distances. A wrong guess costs time only.
        """
        number = len(self.upper)
        if not (budget and self._space.num_centers):
            return
        some = torch.arange(0, number, _SAMPLE, device=self._space.device)
        distances = self.settle(some, torch.zeros_like(some, dtype=torch.float64))
        threshold = distances.topk(max(budget * len(some) // number, 1)).values[-1]
        rows = (self.upper >= threshold).nonzero().flatten()
        self.settle(rows, threshold.expand(len(rows)))

    def add(self, picks: list[int], group: Tensor, distances: Tensor) -> None:
        """Make centers of picks; ``distances`` of the group, ``Float64[n]``, know of them already."""
        self._centers = torch.cat([self._centers, torch.tensor(picks, dtype=torch.long, device=group.device)])
        self.upper[group], self._seen[group] = distances, len(self._centers)


def leading(keys: Tensor, size: int) -> tuple[Tensor, float, int]:
    """Give the first ``size`` candidates by key, then index, ascending; and key and index of the next one.

    Args:
        keys: ``Float64[U]``.
        size: at least 1; where it is U or more, all come and the next one has minus infinity and U.
    """
    number = len(keys)
    if size >= number:
        return torch.arange(number, device=keys.device), -math.inf, number
    outside = keys.topk(size + 1).values[-1]
    above = keys > outside
    level = (keys == outside).nonzero().flatten()
    missing = size - int(above.sum())
    above[level[:missing]] = True
    return above.nonzero().flatten(), float(outside), int(level[missing])
