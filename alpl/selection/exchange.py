r"""Local search for class-balanced selection: images near the border of an order are exchanged for one another.

Axes: N images, C classes, b chosen images, n images inside the border and m outside that may be exchanged.
"""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor

BORDER = 600
"""Images on either side of the border that may be exchanged."""

_CANDIDATES = 8  # a kick exchanges for one of so many that cost least
_KICK = 2  # exchanges of a kick


class _State(NamedTuple):
    """A choice: who is inside and who is outside, their costs and probabilities, and what the targets lack."""

    inside: Tensor
    outside: Tensor
    inner_cost: Tensor
    outer_cost: Tensor
    inner: Tensor
    outer: Tensor
    lack: Tensor

    def copy(self) -> _State:
        return _State(*(each.clone() for each in self))


@final
class Exchange:
    r"""A choice of b images that is bettered by exchanges; all in float64.

    What is minimized is :math:`u^T z + \lambda \lVert \Omega - P^T z \rVert_1` (thesis Eq. 4.8).

    Args:
        cost: ``Float64[N]``, u.
        probs: ``Float64[N C]``, P.
        targets: ``Float64[C]``, Omega.
        weight: lambda.
        index: ``Long[b]`` the choice to begin with.
        reduced: ``Float64[N]``: the order whose border counts: the ``border`` last of the chosen images and the
            ``border`` first of the others may be exchanged.
        border: see ``reduced``.
    """

    def __init__(
        self,
        cost: Tensor,
        probs: Tensor,
        targets: Tensor,
        weight: float,
        index: Tensor,
        reduced: Tensor,
        border: int = BORDER,
    ) -> None:
        chosen = torch.zeros(len(cost), dtype=torch.bool, device=cost.device)
        chosen[index] = True
        order = torch.argsort(reduced, stable=True)
        inside, outside = order[chosen[order]].flip(0)[:border], order[~chosen[order]][:border]
        chosen[inside] = False
        self._weight = weight
        self._kept = chosen.nonzero().flatten()
        lack = targets - probs[index].sum(0)
        parts = (inside, outside, cost[inside], cost[outside], probs[inside], probs[outside], lack)
        self._now = _State(*parts).copy()

    @property
    def index(self) -> Tensor:
        """``Long[b]``, ascending."""
        return torch.cat([self._kept, self._now.inside]).sort().values

    @property
    def value(self) -> float:
        """Eq. 4.8 less the cost of the images that stay."""
        return float(self._now.inner_cost.sum() + self._weight * self._now.lack.abs().sum())

    def settle(self) -> None:
        """Exchange one image for another until no exchange helps; each time the best partner of an image."""
        place, since = 0, 0
        while since < len(self._now.inside) and len(self._now.outside):
            changes = self._changes(place)
            partner = int(changes.argmin())
            if float(changes[partner]) < -1e-10:
                self._swap(place, partner)
                since = 0
            else:
                since += 1
            place = (place + 1) % len(self._now.inside)

    def improve(self, num_kicks: int, enough: float, random: torch.Generator) -> None:
        """Settle; then again and again exchange a few at random, settle, and go back where that was no better.

        Args:
            num_kicks: at most.
            enough: a :attr:`value` at which to stop.
            random: draws the exchanges, on the CPU.
        """
        self.settle()
        best, value = self._now.copy(), self.value
        for _ in range(num_kicks if min(len(best.inside), len(best.outside)) else 0):
            if value <= enough:
                break
            self._kick(random)
            self.settle()
            if self.value < value - 1e-10:
                best, value = self._now.copy(), self.value
            else:
                self._now = best.copy()

    def _kick(self, random: torch.Generator) -> None:
        for _ in range(_KICK):
            place = int(torch.randint(len(self._now.inside), (1,), generator=random))
            partners = self._changes(place).topk(min(_CANDIDATES, len(self._now.outside)), largest=False).indices
            self._swap(place, int(partners[int(torch.randint(len(partners), (1,), generator=random))]))

    def _changes(self, place: int) -> Tensor:
        """``Float64[m]``: by how much the value rises where the image inside at a place leaves for each outside."""
        now = self._now
        lack = torch.cdist((now.lack + now.inner[place])[None], now.outer, p=1.0)[0]
        return lack.sub_(now.lack.abs().sum()).mul_(self._weight).add_(now.outer_cost).sub_(now.inner_cost[place])

    def _swap(self, place: int, partner: int) -> None:
        now = self._now
        now.lack.add_(now.inner[place]).sub_(now.outer[partner])
        for ours, theirs in ((now.inside, now.outside), (now.inner_cost, now.outer_cost), (now.inner, now.outer)):
            leaves = ours[place].clone()  # not a view of what is overwritten
            ours[place], theirs[partner] = theirs[partner].clone(), leaves
