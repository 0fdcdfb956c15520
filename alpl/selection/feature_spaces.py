r"""The spaces in which image features are compared: Euclidean and cosine.

Axes: U candidates, L centers, F features, n points, p pairs.
"""

from __future__ import annotations

import logging
from typing import Literal, TypeAlias, final, get_args

import torch
from torch import Tensor

from alpl.errors import ConfigError
from alpl.machine.extras import installing
from alpl.selection.blocks import rows_per_block
from alpl.selection.exact_sum import tree_sum
from alpl.selection.neighbors import faiss_runs_on, nearest_by_faiss
from alpl.selection.product_spaces import AbstractProductSpace, Operand

log = logging.getLogger(__name__)

Backend: TypeAlias = Literal["auto", "torch", "faiss"]
"""Who compares all candidates with many centers: only bounds come of it, so no pick depends on it."""
BACKENDS: tuple[str, ...] = get_args(Backend)

TINY = 1e-30
"""Covers what underflow takes from a float32 product of features below 1e-15."""
_LARGEST = 1e18  # of a norm: four times its square must be finite in float32


class Points:
    """``Float[U F]`` candidates and ``Float[L F]`` centers under one numbering, read in blocks, never copied whole."""

    def __init__(self, candidates: Tensor, centers: Tensor) -> None:
        self._candidates, self._centers = candidates.detach(), centers.detach()

    def __len__(self) -> int:
        return len(self._candidates) + len(self._centers)

    def __getitem__(self, points: Tensor) -> Tensor:
        """``Long[n]`` -> ``Float32[n F]``, a copy."""
        number = len(self._candidates)
        ours = points < number
        if not len(self._centers) or bool(ours.all()):
            return self._candidates.index_select(0, points).float()
        if not bool(ours.any()):
            return self._centers.index_select(0, points - number).float()
        rows = self._candidates.new_empty((len(points), self._candidates.shape[1]), dtype=torch.float32)
        rows[ours] = self._candidates[points[ours]].float()
        rows[~ours] = self._centers[points[~ours] - number].float()
        return rows

    def blocks(self, memory_limit: int) -> tuple[Tensor, ...]:
        """Split all points so that a block of them in float64, three times, keeps the limit."""
        size = rows_per_block(memory_limit, 24 * max(self._candidates.shape[1], 1))
        return tuple(torch.split(torch.arange(len(self), device=self._candidates.device), size))


class _AbstractFeatureSpace(AbstractProductSpace):
    """What Euclidean and cosine distances share.

    Args:
        candidates: ``Float[U F]``; held as they are, read as float32.
        centers: ``Float[L F]``.
        memory_limit: bytes for the blocks.
        backend: ``torch``: bounds by matrix products. ``faiss``: the nearest center by faiss, and the exact distance
            to it. ``auto``: faiss where it runs on the device and is faster, which on a CPU is where centers are more
            than features (`tests/benchmarks/selection.py`); the log says which.

    Raises:
        ConfigError: ``backend`` is unknown, or faiss does not run on the device.
        ValueError: the shapes do not fit, or a value is not finite or so large that its square is not.
    """

    def __init__(self, candidates: Tensor, centers: Tensor, memory_limit: int, backend: Backend = "auto") -> None:
        check_features(candidates, centers)
        super().__init__(len(candidates), len(centers), candidates.shape[1], candidates.device, memory_limit)
        check_backend(backend, self.device)
        self._points, self._backend = Points(candidates, centers), backend

    def bound(self, columns: Tensor) -> Tensor:
        """See the base class; the distance to whatever column is an upper bound, so faiss's rounding does no harm."""
        is_worth = self._backend == "faiss" or (
            self._backend == "auto" and self.device.type == "cpu" and len(columns) > self.width
        )
        if not (is_worth and len(columns) and self.width and faiss_runs_on(self.device)):
            return super().bound(columns)
        log.info("nearest of %d centers by faiss, backend %s, %d features", len(columns), self._backend, self.width)
        upper = torch.full((self.num_candidates,), torch.inf, dtype=torch.float64, device=self.device)
        for some in columns.split(self._columns(torch.float32)):
            theirs = self.operand(some, torch.float32).right.contiguous()
            # faiss holds the product of all these rows with 1,024 centers at a time
            size = rows_per_block(self.memory_limit // 2, 16 * self.width + 4 * min(len(some), 1024))
            for rows in torch.arange(self.num_candidates, device=self.device).split(size):
                nearest = nearest_by_faiss(self.operand(rows, torch.float32).left.contiguous(), theirs)
                upper[rows] = torch.minimum(upper[rows], self.distances(rows, some[nearest]))
        return upper


@final
class EuclideanSpace(_AbstractFeatureSpace):
    r"""Squared distances, :math:`\lVert x - y \rVert^2 = \lVert x \rVert^2 + \lVert y \rVert^2 - 2 x^T y`.

    The products are of features less their mean, which round less; the distances are of the features themselves.
    """

    def __init__(self, candidates: Tensor, centers: Tensor, memory_limit: int, backend: Backend = "auto") -> None:
        super().__init__(candidates, centers, memory_limit, backend)
        points, blocks = self._points, self._points.blocks(memory_limit)
        total = torch.zeros(self.width, dtype=torch.float64, device=self.device)
        for block in blocks:
            total += points[block].sum(0, dtype=torch.float64)
        self._mean = (total / max(len(points), 1)).float()
        norms = [points[block].sub_(self._mean).double().square_().sum(1) for block in blocks]
        self._norms = torch.cat([self._none(), *norms]).add_(TINY)

    def operand(self, points: Tensor, dtype: torch.dtype) -> Operand:
        """Centered; the slack is the squared norm, as ``2 |x| |y| <= |x|^2 + |y|^2``."""
        if dtype is torch.float32:
            rows = self._points[points].sub_(self._mean)
            return Operand(rows, rows, self._norms[points], self._norms[points])
        rows = self._points[points].double().sub_(self._mean)
        norms = rows.square().sum(1)
        return Operand(rows, rows, norms, norms + TINY)

    def product(self, bias: Tensor, ours: Operand, theirs: Operand) -> Tensor:
        """``bias - 2 x y``."""
        return torch.addmm(bias, ours.left, theirs.right.T, alpha=-2)

    def exact(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Sum of squared differences."""
        return tree_sum(self._points[rows].double().sub_(self._points[columns]).square_())


@final
class CosineSpace(_AbstractFeatureSpace):
    r"""One minus the cosine, :math:`1 - \hat x^T \hat y = \tfrac12 \lVert \hat x - \hat y \rVert^2` of unit vectors.

    Raises:
        ValueError: a vector is zero, which has no direction.
    """

    def __init__(self, candidates: Tensor, centers: Tensor, memory_limit: int, backend: Backend = "auto") -> None:
        super().__init__(candidates, centers, memory_limit, backend)
        squared = [tree_sum(self._points[block].double().square_()) for block in self._points.blocks(memory_limit)]
        self._norms = torch.cat([self._none(), *squared]).sqrt_()
        if not bool((self._norms > 0).all()):
            number = int((self._norms == 0).sum())
            raise ValueError(f"features must not be zero for cosine distances, got {number} zero vectors")

    def operand(self, points: Tensor, dtype: torch.dtype) -> Operand:
        """Unit vectors; all norms are 1 within rounding, and so is the slack."""
        rows = self._unit(points).to(dtype)
        halves = torch.full((len(points),), 0.5, dtype=torch.float64, device=self.device)
        return Operand(rows, rows, halves, halves)

    def product(self, bias: Tensor, ours: Operand, theirs: Operand) -> Tensor:
        """``bias`` less the cosine."""
        return torch.addmm(bias, ours.left, theirs.right.T, alpha=-1)

    def exact(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Half the sum of squared differences of the unit vectors."""
        return tree_sum(self._unit(rows).sub_(self._unit(columns)).square_()).mul_(0.5)

    def _unit(self, points: Tensor) -> Tensor:
        return self._points[points].double().div_(self._norms[points][:, None])


def check_backend(backend: str, device: torch.device) -> None:
    """Make sure that a backend is one, and that faiss is there where it is asked for.

    Raises:
        ConfigError: it is not; names the extras that hold faiss.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "faiss" and not faiss_runs_on(device):
        extra = installing("gpu" if device.type == "cuda" else "cpu")
        raise ConfigError(f"backend faiss needs faiss on {device.type}, which is not installed: {extra}")


def check_features(features: Tensor, centers: Tensor) -> None:
    """Raise ValueError where these are not ``Float[U F]`` and ``Float[L F]`` with squared distances below infinity."""
    if features.ndim != 2 or centers.ndim != 2 or features.shape[1] != centers.shape[1]:
        shapes = f"{list(features.shape)} and {list(centers.shape)}"
        raise ValueError(f"features and centers must be [U F] and [L F], got {shapes}")
    largest = 0.0
    for part in (features, centers):
        if part.numel():
            low, high = (
                float(value) for value in part.detach().aminmax()
            )  # NaN shows in both; no copy as isfinite makes
            largest = max(largest, -low, high) if low == low else torch.nan
            if not abs(largest) < torch.inf:
                raise ValueError("features and centers must be finite, got NaN or infinite values")
    if largest * max(features.shape[1], 1) ** 0.5 > _LARGEST:
        raise ValueError(f"features and centers must be below 1e18 / sqrt(F), got {largest}")
