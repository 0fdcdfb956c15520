"""What a greedy selection gains by each sample, given what it has picked: for selections that weigh it with more.

Axes: N candidates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from alpl.selection.spaces import AbstractSpace


class AbstractGain(ABC):
    """The gains of N candidates; is told every pick."""

    @property
    @abstractmethod
    def values(self) -> Tensor:
        """``Float64[N]``: what each would gain as the next pick; of the picks themselves anything."""

    @abstractmethod
    def add(self, pick: int) -> None:
        """Bring the gains up to date with a pick."""


@final
class NearestGain(AbstractGain):
    """The distance to the nearest center or pick, which k-center greedy takes the largest of; all 0 without any.

    The distances are those of :func:`alpl.selection.farthest_first.farthest_first`. O(N) distances a pick.

    Args:
        space: of the candidates and the centers.
        is_squared: whether its distances are squares; the gains are not.
    """

    def __init__(self, space: AbstractSpace, *, is_squared: bool = False) -> None:
        self._space, self._is_squared = space, is_squared
        number = space.num_candidates
        self._rows = torch.arange(number, device=space.device)
        self._nearest = torch.full((number,), torch.inf, dtype=torch.float64, device=space.device)
        if space.num_centers:
            self._compare(torch.arange(number, number + space.num_centers, device=space.device))

    @property
    def values(self) -> Tensor:
        """See the base class; without a center or pick all distances are infinite, and none matters."""
        if torch.isinf(self._nearest).all():
            return torch.zeros_like(self._nearest)
        return self._nearest.sqrt() if self._is_squared else self._nearest

    def add(self, pick: int) -> None:
        """See the base class."""
        self._compare(torch.tensor([pick], device=self._space.device))

    def _compare(self, columns: Tensor) -> None:
        upper = torch.minimum(self._nearest, self._space.bound(columns))
        self._nearest = self._space.settle(self._rows, columns, upper, upper)
