"""Distances between images by the objects on them (NORIS sec. 3.3).

Axes: N images, I objects over all of them, F features.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, final

import torch
from torch import Tensor

from alpl.blocks import MEMORY_LIMIT, rows_per_block
from alpl.selection.class_tiles import tiles_of_class
from alpl.selection.image_distance import AbstractImageDistance, FeatureDistance, centered

EmptyDistance: TypeAlias = Literal["image", "typical"]
EMPTY_DISTANCES = ("image", "typical")

_ROUNDING = 1 + 1e-9  # limits are raised by more than they can be rounded down


@final
class ObjectDistance(AbstractImageDistance):
    r"""Distance of two images by their most different objects, times that of the images themselves.

    .. math::
        d_o(u, v) = \max_{o_u \in u, o_v \in v} |f_{o_u} - f_{o_v}|^2, \qquad d(u, v) = d_o(u, v) \, |f_u - f_v|^2

    NORIS Eq. 9 and 10. All in float64, from products of features less their mean: d_o is right to about 1e-14. A row is
    O(n I F) for an image with n objects. The pairs of objects are never held; :meth:`largest` measures only pairs of
    images that can be farther apart than what it has found, by the distances of their objects from the mean.

    Args:
        objects: ``Float[I F]`` features of the objects.
        row: ``Long[I]`` the image of each, ascending.
        image_features: ``Float[N F']``.
        squared: what :math:`|\cdot|^2` is: the squared Euclidean norm as it is written, or (the supplement speaks of
            Euclidean distance) the norm itself.
        empty: what d_o is where an image has no objects, which Eq. 9 leaves open: ``image``: 1, so that the image
            features alone measure the distance ("in the absence of detected objects"); ``typical``: the mean over all
            pairs of objects of the pool, so that these distances are on the scale of the others (its square root where
            ``squared`` is false).
        memory_limit: bytes that may be taken beside the inputs and their float64 copies.

    Raises:
        ValueError: the shapes do not fit, ``row`` falls or leaves [0, N), a value is not finite, or a rule is unknown.
    """

    def __init__(
        self,
        objects: Tensor,
        row: Tensor,
        image_features: Tensor,
        *,
        squared: bool = True,
        empty: EmptyDistance = "image",
        memory_limit: int = MEMORY_LIMIT,
    ) -> None:
        number = len(image_features)
        if objects.ndim != 2 or row.shape != objects.shape[:1]:
            raise ValueError(f"objects and row must be [I F] and [I], got {list(objects.shape)}, {list(row.shape)}")
        if len(row) and (bool((row.diff() < 0).any()) or int(row[0]) < 0 or int(row[-1]) >= number):
            raise ValueError(f"row must be ascending in [0, {number}), got {row[:5].tolist()} ... {row[-5:].tolist()}")
        if empty not in EMPTY_DISTANCES:
            raise ValueError(f"empty must be one of {', '.join(EMPTY_DISTANCES)}, got {empty!r}")
        self.num_images = number
        self._images = FeatureDistance(image_features, memory_limit)
        self._squared, self._memory_limit = squared, memory_limit
        every = torch.arange(len(row), device=row.device)
        # one tile: all images with objects, those with most of them first
        self._tile = tiles_of_class(every, row, len(row) + 1)[0] if len(row) else None
        objects = centered(objects, "objects")
        # mean of |a - b|^2 over all pairs of objects
        typical = 2 * float((objects - objects.mean(0)).square().sum(1).mean()) if len(row) else 1.0
        self._of_empty = 1.0 if empty == "image" else (typical if squared else math.sqrt(typical))
        self._objects = objects[self._tile.instances] if self._tile else objects
        self._norms = self._objects.square().sum(1)
        counts = torch.bincount(row, minlength=number)
        self._starts, self._counts = counts.cumsum(0) - counts, counts
        self._places = torch.empty_like(every)
        if self._tile:
            self._places[self._tile.instances] = every
        self._image_of = row[self._tile.instances] if self._tile else row
        self._is_empty = counts == 0

    def row(self, image: int) -> Tensor:
        """See the base class."""
        between = self._images.squared_row(image)
        if not self._squared:
            between = between.sqrt_()
        return between.mul_(self._object_row(image))

    def _object_row(self, image: int) -> Tensor:
        """``Float64[N]``: d_o of one image to all."""
        device = self._norms.device
        distances = torch.full((self.num_images,), self._of_empty, dtype=torch.float64, device=device)
        if self._tile is None or bool(self._is_empty[image]):
            return distances
        own = self._own(image)
        farthest = self._farthest_from(self._objects[own], self._norms[own], self._objects, self._norms)
        by_image = self._tile.max_by_image(farthest[:, None]).flatten()
        distances[self._tile.images] = by_image if self._squared else by_image.sqrt_()
        return distances

    def _farthest_from(self, own: Tensor, norms: Tensor, objects: Tensor, squared_lengths: Tensor) -> Tensor:
        """``Float64[J]``: the squared distance of each of J objects to the farthest of some."""
        rows = rows_per_block(self._memory_limit, 8 * max(len(own), 1))
        rows = min(rows, 2048) if own.device.type == "cpu" else rows  # 2048: the products stay in the cache
        parts = []
        for others, squares in zip(objects.split(rows), squared_lengths.split(rows), strict=True):
            parts.append(torch.addmm(norms[:, None], own, others.T, alpha=-2).amax(0).add_(squares))
        return torch.cat(parts).clamp_(min=0)

    def largest(self) -> float:
        r"""See the base class.

        An object at r from the center and one at s are at most r + s apart. So :math:`(r + R_u)^2 |f_u - f_v|^2`, with
        the outermost object R_u of u, limits what an object of v can contribute, and only objects whose limit exceeds
        the largest distance so far are multiplied. Images that promise most come first.
        """
        lengths = self._norms.sqrt()
        outermost = lengths.new_zeros(self.num_images)
        if self._tile:
            outermost[self._tile.images] = self._tile.max_by_image(lengths[:, None]).flatten()
        order = (outermost * self._images.radius).argsort(descending=True)
        best = 0.0
        rows = max(1, min(64, rows_per_block(self._memory_limit, 48 * max(self.num_images, 1))))
        for images in order.split(rows):
            between = self._images.squared_block(images)
            if not self._squared:
                between = between.sqrt_()
            unknown = self._is_empty | self._is_empty[images, None]
            best = max(best, float(torch.where(unknown, between * self._of_empty, 0.0).max()))
            limits = self._scaled(outermost[images, None] + outermost).mul_(between).masked_fill_(unknown, 0.0)
            for image, distances, limit in zip(images.tolist(), between, limits, strict=True):
                if float(limit.max()) * _ROUNDING > best:
                    best = max(best, self._largest_of(image, distances, limit * _ROUNDING > best, lengths, best))
        return best

    def _largest_of(self, image: int, between: Tensor, promising: Tensor, lengths: Tensor, best: float) -> float:
        """The largest distance of an image to some others, or anything below ``best``."""
        own, objects = self._own(image), self._objects_of(promising.nonzero().flatten())
        factor = between[self._image_of[objects]]
        kept = self._scaled(lengths[objects] + lengths[own].max()).mul_(factor) * _ROUNDING > best
        objects, factor = objects[kept], factor[kept]
        if not len(objects):
            return 0.0
        farthest = self._farthest_from(
            self._objects[own], self._norms[own], self._objects[objects], self._norms[objects]
        )
        return float((farthest if self._squared else farthest.sqrt_()).mul_(factor).max())

    def _scaled(self, lengths: Tensor) -> Tensor:
        return lengths.square() if self._squared else lengths

    def _own(self, image: int) -> Tensor:
        """``Long[n]``: where the objects of an image are in the tile."""
        start = int(self._starts[image])
        return self._places[start : start + int(self._counts[image])]

    def _objects_of(self, images: Tensor) -> Tensor:
        """``Long[J]``: the same of several images."""
        counts = self._counts[images]
        shift = self._starts[images] - (counts.cumsum(0) - counts)
        every = torch.arange(int(counts.sum()), device=counts.device)
        return self._places[every + shift.repeat_interleave(counts)]
