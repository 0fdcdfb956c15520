r"""Distances between images, one row at a time, and the largest of all: what NORIS is built on.

Axes: N images, I objects over all of them, F features.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from alpl.selection.blocks import MEMORY_LIMIT, rows_per_block


class AbstractImageDistance(ABC):
    """Symmetric distances d(u, v) >= 0 of N images, with d(u, u) = 0."""

    num_images: int

    @abstractmethod
    def row(self, image: int) -> Tensor:
        """``Float64[N]``: the distances of one image to all."""

    @abstractmethod
    def largest(self) -> float:
        r"""Give :math:`d_{\max} = \max_{u, v} d(u, v)` (NORIS Eq. 6); 0 where there is no image."""


@final
class FeatureDistance(AbstractImageDistance):
    r"""Euclidean distance of image features (NORIS sec. 4.1, for classification).

    .. math:: d(u, v) = \lVert f_u - f_v \rVert_2

    Everything is in float64. A row is O(N F); the largest distance O(N^2 F), less where far images settle it.

    Args:
        features: ``Float[N F]``.
        memory_limit: bytes that may be taken beside the features and two float64 copies of them.

    Raises:
        ValueError: the features are no finite matrix.
    """

    def __init__(self, features: Tensor, memory_limit: int = MEMORY_LIMIT) -> None:
        self._features = centered(features, "features")
        self._memory_limit = memory_limit
        self.num_images = len(features)

    def row(self, image: int) -> Tensor:
        """See the base class."""
        return self.squared_row(image).sqrt_()

    def squared_row(self, image: int) -> Tensor:
        """``Float64[N]``: squared distances, by differences, which do not cancel; equal features have exactly 0."""
        features = self._features
        rows = rows_per_block(self._memory_limit, 16 * max(features.shape[1], 1))
        rows = min(rows, 512) if features.device.type == "cpu" else rows  # 512: stays in the cache
        return torch.cat([(part - features[image]).square_().sum(1) for part in features.split(rows)])

    def squared_block(self, images: Tensor) -> Tensor:
        """``Float64[n N]``: squared distances of some images, by products: to 1e-15 of the squared radii."""
        some, squared = self._features[images], self._features.square().sum(1)
        return (squared[images, None] + squared).addmm_(some, self._features.T, alpha=-2).clamp_(min=0)

    @property
    def radius(self) -> Tensor:
        """``Float64[N]``: the distance of each image to about the mean."""
        return self._features.square().sum(1).sqrt_()

    def largest(self) -> float:
        """See the base class.

        Images are taken from the outermost inwards. Two images at r and s from the center are at most r + s apart, so
        that the rest can be left out as soon as it lies too far inside.
        """
        if not self.num_images:
            return 0.0
        radius, order = self.radius.sort(descending=True)
        features = self._features[order]
        size = max(1, min(2048, math.isqrt(rows_per_block(self._memory_limit, 16))))
        best = 0.0
        for start in range(0, self.num_images, size):
            if float(radius[start] + radius[0]) <= best:
                break
            for other in range(0, start + 1, size):
                if float(radius[start] + radius[other]) <= best:
                    break
                best = max(best, _farthest(features, radius, slice(start, start + size), slice(other, other + size)))
        return best


def _farthest(features: Tensor, radius: Tensor, here: slice, there: slice) -> float:
    """The largest distance between two blocks: found by products, measured by differences."""
    squared = (radius[here].square()[:, None] + radius[there].square()).addmm_(
        features[here], features[there].T, alpha=-2
    )
    a, b = divmod(int(squared.argmax()), squared.shape[1])
    return float((features[here][a] - features[there][b]).square().sum().sqrt())


def centered(features: Tensor, name: str) -> Tensor:
    """``Float64[. F]``: less about their mean, so that products of features do not cancel.

    Their mean is rounded to a power of two, some way below their spread: differences of features that have few digits,
    like whole numbers, stay exact, and so do ties of distances. Equal features become zeros.

    Raises:
        ValueError: the features are no matrix, or not finite.
    """
    if features.ndim != 2:
        raise ValueError(f"{name} must be a matrix, got shape {list(features.shape)}")
    if not bool(features.isfinite().all()):
        raise ValueError(f"{name} must be finite, got NaN or infinite values")
    wide = features.to(torch.float64, copy=True)  # the only copy of this size
    if not wide.numel():
        return wide
    wide -= wide[0].clone()
    spread = max(-float(wide.min()), float(wide.max()))
    if not spread:
        return wide
    grid = 2.0 ** (math.frexp(spread)[1] - 5)
    return wide.sub_((wide.mean(0) / grid).round() * grid)
