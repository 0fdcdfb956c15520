"""Squared distances of points to points, block by block, so that no N x N matrix is ever held.

Axes: N points, n rows of a block, F features.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from alpl.selection.blocks import MEMORY_LIMIT, rows_per_block
from alpl.selection.feature_spaces import check_features


class Points:
    """Points between which distances are asked for, held in float64: 8 N (F + 1) bytes.

    Products in float64: what two float32 points differ by is not lost in the rounding of the sum.

    Args:
        features: ``Float[N F]``.
        normalize: scale each to length 1, as the papers of self-supervised features do; points of length 0 stay.
        memory_limit: bytes for a block of distances.

    Raises:
        ValueError: a feature is not finite, or they are no matrix.
    """

    def __init__(self, features: Tensor, *, normalize: bool = False, memory_limit: int = MEMORY_LIMIT) -> None:
        if features.ndim != 2:
            raise ValueError(f"features must be Float[N F], got shape {list(features.shape)}")
        check_features(features, features[:0])
        values = features.detach().double()
        if normalize:
            values = values / values.norm(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
        self.values, self._norms, self._memory_limit = values, values.square().sum(1), memory_limit

    def __len__(self) -> int:
        return len(self.values)

    @property
    def largest(self) -> float:
        """The largest squared length."""
        return float(self._norms.max()) if len(self) else 0.0

    def squared(self, rows: Tensor, columns: Tensor | None = None) -> Tensor:
        """``Float64[n m]`` of the points ``rows`` (``Long[n]``) to ``columns``, or to all; 0 to itself."""
        others, norms = (self.values, self._norms) if columns is None else (self.values[columns], self._norms[columns])
        # lengths first: of two points each is as far from the other, to the last bit
        found = (self._norms[rows, None] + norms).addmm_(self.values[rows], others.T, alpha=-2).clamp_(min=0)
        if columns is None:
            return found.scatter_(1, rows[:, None], 0.0)
        return found.masked_fill_(rows[:, None] == columns, 0.0)

    def blocks(
        self, rows: Tensor, columns: Tensor | None = None, *, copies: int = 3
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Walk ``rows`` in blocks that fit the memory, with their distances to ``columns``, or to all.

        Args:
            rows: ``Long[n]``.
            columns: ``Long[m]``.
            copies: of a block that whoever asks holds at a time.
        """
        width = len(self) if columns is None else len(columns)
        size = rows_per_block(max(self._memory_limit, 8 * copies * max(width, 1)), 8 * copies * max(width, 1))
        for part in rows.split(size):
            yield part, self.squared(part, columns)
