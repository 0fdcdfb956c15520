r"""Spaces whose distances are nearly a matrix product: Euclidean, cosine, symmetric Kullback-Leibler.

Bounds come from matrix products in float32. Their rounding error has a rigorous margin, and they only rule out; every
distance that decides something is computed by differences in float64, with a defined order of summation. So a choice
made with these spaces is that of the obvious algorithm in this arithmetic, on every device, whatever the blocks.

Axes: U candidates, L centers, F features, C classes, W width of the operands, n rows, m columns, p pairs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from alpl.selection.blocks import rows_per_block
from alpl.selection.spaces import AbstractSpace, Within

_PAIR_VALUES = 2**17  # differences of pairs at a time, 1 MiB: larger blocks leave the cache and are 4 times as slow
_MANY = 8  # open pairs a row after which a product in float64 costs less than the exact distances


Between: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""``(columns Long[m]) -> Float64[n], Float64[n]``: bounds of distances to the nearest column."""


class Operand(NamedTuple):
    """Points as a matrix product takes them: the distance of i and j is ``bias_i + bias_j`` less the product."""

    left: Tensor
    """``Float[n .]``."""
    right: Tensor
    """``Float[n .]``; may be ``left`` itself."""
    bias: Tensor
    """``Float64[n]``."""
    slack: Tensor
    """``Float64[n]``, at least ``|bias|``: the absolute terms of a product sum to at most ``slack_i + slack_j``."""


class AbstractProductSpace(AbstractSpace):
    """A concrete one gives :meth:`operand`, :meth:`product` and :meth:`exact`.

    Args:
        num_candidates: U.
        num_centers: L.
        width: W, the terms of a product.
        device: where the points lie.
        memory_limit: bytes for the blocks.

    Raises:
        ValueError: ``memory_limit`` is below 256 bytes for each term, or W is 2^23 or more.
    """

    def __init__(
        self, num_candidates: int, num_centers: int, width: int, device: torch.device, memory_limit: int
    ) -> None:
        super().__init__(num_candidates, num_centers, device, memory_limit)
        if memory_limit < 256 * (width + 1):
            raise ValueError(f"memory_limit must be at least {256 * (width + 1)} bytes here, got {memory_limit}")
        if width >= 2**23:
            raise ValueError(f"the width of the features must be below {2**23}, got {width}")
        self.width = width
        self._margins = {dtype: self._margin(dtype) for dtype in (torch.float32, torch.float64)}

    @abstractmethod
    def operand(self, points: Tensor, dtype: torch.dtype) -> Operand:
        """``Long[n]`` -> the points in float32 or float64, each entry within 2 units of rounding."""

    @abstractmethod
    def product(self, bias: Tensor, ours: Operand, theirs: Operand) -> Tensor:
        """``Float[n m]``: ``bias`` (``[m]`` or ``[n 1]``) less the product of two operands."""

    @abstractmethod
    def exact(self, rows: Tensor, columns: Tensor) -> Tensor:
        """``Long[p]``, ``Long[p]`` -> ``Float64[p]``: the distances of pairs, by differences."""

    def distances(self, rows: Tensor, columns: Tensor) -> Tensor:
        """:meth:`exact` in blocks."""
        size = rows_per_block(min(self.memory_limit // 4, 24 * max(_PAIR_VALUES, self.width)), 24 * max(self.width, 1))
        parts = zip(rows.split(size), columns.split(size), strict=True)
        return torch.cat([self._none(), *(self.exact(row, column) for row, column in parts)])

    def bound(self, columns: Tensor) -> Tensor:
        """Products in float32."""
        return self.bounds(columns)[1]

    def bounds(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """``Float64[U]``, twice: no candidate's distance to the nearest of ``columns`` is below, none above."""
        low, high = torch.full((2, self.num_candidates), torch.inf, dtype=torch.float64, device=self.device)
        for some in columns.split(self._columns(torch.float32)):
            theirs = self.operand(some, torch.float32)
            for rows in torch.arange(self.num_candidates, device=self.device).split(self._rows(theirs)):
                least, most = self._between(self.operand(rows, torch.float32), theirs)
                low[rows], high[rows] = torch.minimum(low[rows], least), torch.minimum(high[rows], most)
        return low, high

    def between(self, rows: Tensor) -> Between:
        """Prepare bounds of the distances of some candidates, ``Long[n]``, to the nearest of few points."""
        ours = self.operand(rows, torch.float32)
        return lambda columns: self._between(ours, self.operand(columns, torch.float32))

    def _between(self, ours: Operand, theirs: Operand) -> tuple[Tensor, Tensor]:
        units = self._units(torch.float32)
        lower = self._lower(ours, theirs)
        least, slack = lower[:, 0], theirs.slack
        if len(slack) > 1:
            least, column = lower.min(1)
            slack = slack[column]
        margin = units * ours.slack
        middle = least + ours.bias
        low, high = middle - margin, middle.add_(margin).add_(slack, alpha=2 * units)
        return low.clamp_(min=0), high.clamp_(min=0)

    def lower_bounds(self, columns: Tensor, count: int) -> Tensor:
        """``Float64[U count]``: lower bounds of the distances to each candidate's nearest ``columns``, ascending."""
        nearest = torch.full((self.num_candidates, count), torch.inf, dtype=torch.float64, device=self.device)
        units = self._units(torch.float32)
        for some in columns.split(self._columns(torch.float32)):
            theirs = self.operand(some, torch.float32)
            for rows in torch.arange(self.num_candidates, device=self.device).split(self._rows(theirs)):
                ours = self.operand(rows, torch.float32)
                lower = self._lower(ours, theirs)
                shift = ours.bias - units * ours.slack
                for _ in range(min(count, len(some))):
                    least, column = lower.min(1)
                    lower.scatter_(1, column[:, None], torch.inf)
                    found = torch.cat([nearest[rows], (least + shift)[:, None]], 1)
                    nearest[rows] = found.sort(1).values[:, :count]
        return nearest.clamp_(min=0)

    def settle(self, rows: Tensor, columns: Tensor, upper: Tensor, known: Tensor) -> Tensor:
        """Exact distances of the pairs that the products do not rule out."""
        nearest = known.clone()
        for some in columns.split(self._columns(torch.float32)):
            left = self._lower_to(nearest, rows, some, torch.minimum(upper, nearest), torch.float32)
            if not len(left):
                continue
            # float32 cannot tell these distances apart (points far from the mean, yet close together)
            finer = nearest[left]
            for few in some.split(self._columns(torch.float64)):
                self._lower_to(finer, rows[left], few, torch.minimum(upper[left], finer), torch.float64)
            nearest[left] = finer
        return nearest

    def _lower_to(self, nearest: Tensor, rows: Tensor, columns: Tensor, upper: Tensor, dtype: torch.dtype) -> Tensor:
        """Lower ``nearest`` in place to the distances of the columns; give the positions of those left open."""
        theirs = self.operand(columns, dtype)
        size = self._rows(theirs)
        left = [rows[:0]]
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            left.append(start + self._lower_block(nearest[part], rows[part], columns, theirs, upper[part]))
        return torch.cat(left)

    def _lower_block(self, nearest: Tensor, rows: Tensor, columns: Tensor, theirs: Operand, upper: Tensor) -> Tensor:
        ours = self.operand(rows, theirs.left.dtype)
        lower = self._lower(ours, theirs)
        least, column = lower.min(1)
        some = ((least <= self._threshold(ours, upper)) & (nearest > 0)).nonzero().flatten()
        # the likely nearest first: it makes the bound exact, so that mostly no other column remains
        nearest[some] = torch.minimum(nearest[some], self.distances(rows[some], columns[column[some]]))
        lower[some, column[some]] = torch.inf
        threshold = self._threshold(ours, torch.minimum(upper, nearest))
        some = some[(nearest[some] > 0) & (lower[some].amin(1) <= threshold[some])]
        near = lower[some] <= threshold[some, None]
        if theirs.left.dtype is torch.float32 and int(near.sum()) > _MANY * len(some):
            return some
        row, column = near.nonzero().unbind(1)
        nearest.scatter_reduce_(0, some[row], self.distances(rows[some[row]], columns[column]), "amin")
        return some[:0]

    def within(self, rows: Tensor) -> Within:
        """One product in float32; exact distances of those members whose distance a new center may lower."""
        ours = self.operand(rows, torch.float32)
        margin = self._units(torch.float32) * ours.slack
        lower = self.product((ours.bias - margin).float()[:, None], ours, ours)  # row of the center; symmetric
        margin -= ours.bias

        def closer(member: int, distances: Tensor) -> Tensor:
            some = (lower[member] <= distances + margin).nonzero().flatten()  # compared in float64
            if len(some):
                found = self.distances(rows[some], rows[member].expand(len(some)))
                distances[some] = torch.minimum(distances[some], found)
            return distances

        return closer

    def group_size(self) -> int:
        """Half the limit holds the group's product with itself, a copy, and its operands: ``8 n^2 + 16 n W``."""
        operands = 16 * self.width
        return int(((operands**2 + 16 * self.memory_limit) ** 0.5 - operands) / 16)

    def _lower(self, ours: Operand, theirs: Operand) -> Tensor:
        """``Float[n m]``: lower bounds of the distances, less what belongs to the row (its bias and slack)."""
        bias = theirs.bias - self._units(ours.left.dtype) * theirs.slack
        return self.product(bias.to(ours.left.dtype), ours, theirs)

    def _threshold(self, ours: Operand, upper: Tensor) -> Tensor:
        """``Float[n]``: lower bounds above it belong to distances above ``upper``."""
        dtype = ours.left.dtype
        threshold = (upper - ours.bias + self._units(dtype) * ours.slack).to(dtype)
        return torch.nextafter(threshold, torch.full_like(threshold, torch.inf))

    def _units(self, dtype: torch.dtype) -> float:
        """Error of a product, in units of the slack."""
        return self._margins[dtype]

    def _margin(self, dtype: torch.dtype) -> float:
        """W rounded terms, rounded operands, and the steps around them."""
        terms = (self.width + 16) * torch.finfo(dtype).eps / 2
        return terms / (1 - terms) + (_input_rounding(self.device) if dtype is torch.float32 else 0.0)

    def _columns(self, dtype: torch.dtype) -> int:
        """Columns of a block: their operand takes a quarter of the limit, a row of the product an eighth at most."""
        return rows_per_block(self.memory_limit // 4, dtype.itemsize * max(4 * self.width, 16))

    def _rows(self, theirs: Operand) -> int:
        """Rows of a block: their operand, the product, and what may be open of it, take half of the limit."""
        size = theirs.left.element_size()
        return rows_per_block(self.memory_limit // 2, size * (8 * len(theirs.left) + 4 * self.width))

    def _none(self) -> Tensor:
        return torch.empty(0, dtype=torch.float64, device=self.device)


_SHORT = {"bf16": 2.0**-7, "tf32": 2.0**-10}  # spacing of the numbers that a product may round its operands to


def _input_rounding(device: torch.device) -> float:
    """Error of a product of float32 operands, in units of the slack, where torch is allowed to shorten them."""
    backend = torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn
    settings = {torch.backends.fp32_precision, backend.matmul.fp32_precision}  # type: ignore[attr-defined]
    spacing = max((_SHORT.get(setting, 0.0) for setting in settings), default=0.0)
    once = 2 * spacing + spacing**2
    return 2 * once + once**2  # a product of two products has it twice
