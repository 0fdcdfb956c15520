"""Distances between points, in the two ways that a greedy selection asks for them: bounds for many, exact ones for few.

Axes: U candidates, L centers, F features, n rows, m columns. Points 0 to U - 1 are the candidates, U to U + L - 1 the
centers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias, final

import torch
from torch import Tensor

from alpl.selection.blocks import rows_per_block

Within: TypeAlias = Callable[[int, Tensor], Tensor]
"""``(member, distances Float64[n]) -> Float64[n]``: the distances after one member of a group has become a center."""


class AbstractSpace(ABC):
    """The distances between U candidates, and from them to L centers.

    Args:
        num_candidates: U.
        num_centers: L.
        device: where the points lie.
        memory_limit: bytes that a method may take.
    """

    def __init__(self, num_candidates: int, num_centers: int, device: torch.device, memory_limit: int) -> None:
        self.num_candidates, self.num_centers = num_candidates, num_centers
        self.device, self.memory_limit = device, memory_limit

    @abstractmethod
    def bound(self, columns: Tensor) -> Tensor:
        """``Float64[U]``: for every candidate, an upper bound of its distance to the nearest of ``columns``."""

    @abstractmethod
    def settle(self, rows: Tensor, columns: Tensor, upper: Tensor, known: Tensor) -> Tensor:
        """``Float64[n]``: the exact minimum of ``known`` and the distances of each row to the columns.

        Args:
            rows: ``Long[n]`` candidates.
            columns: ``Long[m]`` points.
            upper: ``Float64[n]`` no result is above; at most ``known``.
            known: ``Float64[n]`` exact, or an upper bound of what the columns of all calls together give.
        """

    @abstractmethod
    def within(self, rows: Tensor) -> Within:
        """Prepare exact distances among some candidates, ``Long[n]``."""

    @abstractmethod
    def group_size(self) -> int:
        """Give the largest n of :meth:`within` and :meth:`settle` that keeps the memory limit for few columns."""


DistanceBlock: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""``(rows Long[n], columns Long[m]) -> Float[n m]``, not negative; the same for a pair whatever the block."""


@final
class GivenSpace(AbstractSpace):
    """Distances that a function gives block by block.

    Args:
        distance: see :data:`DistanceBlock`.
        num_candidates: U.
        num_centers: L.
        device: of the index tensors that the function receives.
        memory_limit: in bytes, for the blocks; what the function takes itself comes on top.
    """

    def __init__(
        self, distance: DistanceBlock, num_candidates: int, num_centers: int, device: torch.device, memory_limit: int
    ) -> None:
        super().__init__(num_candidates, num_centers, device, memory_limit)
        self._distance = distance

    def bound(self, columns: Tensor) -> Tensor:
        """Exact here."""
        rows = torch.arange(self.num_candidates, device=self.device)
        upper = torch.full((len(rows),), torch.inf, dtype=torch.float64, device=self.device)
        return self.settle(rows, columns, upper, upper)

    def settle(self, rows: Tensor, columns: Tensor, upper: Tensor, known: Tensor) -> Tensor:
        """The function's own values; ``upper`` is not needed."""
        if not (len(rows) and len(columns)):
            return known
        parts = rows.split(rows_per_block(self.memory_limit, 16 * len(columns)))
        nearest = [self._checked(part, columns).amin(1).double() for part in parts]
        return torch.minimum(known, torch.cat(nearest))

    def within(self, rows: Tensor) -> Within:
        """All pairs at once."""
        pairs = self._checked(rows, rows).double()
        return lambda member, distances: torch.minimum(distances, pairs[:, member])

    def group_size(self) -> int:
        """Distances, a copy in float64, and their check."""
        return int((self.memory_limit / 24) ** 0.5)

    def _checked(self, rows: Tensor, columns: Tensor) -> Tensor:
        block = self._distance(rows, columns)
        if block.shape != (len(rows), len(columns)):
            raise ValueError(f"distance must give [{len(rows)} {len(columns)}], got {list(block.shape)}")
        if not (block >= 0).all():  # False for NaN too
            raise ValueError(f"distance must not be negative or NaN, got {float(block.min())}")
        return block
