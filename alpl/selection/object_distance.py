"""Distances between images by the objects on them (NORIS sec. 3.3).

Axes: N images, I objects over all of them, F features.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, final

import torch
from torch import Tensor

from alpl.selection.blocks import MEMORY_LIMIT, rows_per_block
from alpl.selection.class_tiles import tiles_of_class
from alpl.selection.image_distance import AbstractImageDistance, FeatureDistance, centered

EmptyDistance: TypeAlias = Literal["image", "typical"]
EMPTY_DISTANCES = ("image", "typical")
Metric: TypeAlias = Literal["squared_euclidean", "euclidean", "cosine"]
METRICS = ("squared_euclidean", "euclidean", "cosine")
Aggregation: TypeAlias = Literal["maximum", "average"]
AGGREGATIONS = ("maximum", "average")

_ROUNDING = 1 + 1e-9  # limits are raised by more than they can be rounded down


@final
class ObjectDistance(AbstractImageDistance):
    r"""Distance of two images by their most different objects, times that of the images themselves.

    .. math::
        d_o(u, v) = \max_{o_u \in u, o_v \in v} |f_{o_u} - f_{o_v}|^2, \qquad d(u, v) = d_o(u, v) \, |f_u - f_v|^2

    NORIS Eq. 9 and 10; the other metrics, the average over the pairs of objects and the distance without the images'
    features are those of its Table 4. All in float64, from products of features less their mean: d_o is right to about
    1e-14. A row is O(n I F) for an image with n objects, O(N F) for the average of squares or cosines. The pairs of
    objects are never held; :meth:`largest` measures only pairs of images that can be farther apart than what it has
    found, by the distances of their objects from the mean, or by the root of the average of squares.

    Args:
        objects: ``Float[I F]`` features of the objects.
        row: ``Long[I]`` the image of each, ascending.
        image_features: ``Float[N F']``; None where they do not count: then :math:`d(u, v) = d_o(u, v)` for different
            images, and 0 for an image and itself.
        num_images: N, where there are no image features.
        metric: what :math:`|\cdot|^2` is, of objects and of images: ``squared_euclidean``, as it is written;
            ``euclidean``, the norm itself, of which the supplement speaks; ``cosine``, one less the cosine (Table 4).
            The cosine of a vector of zeros is 0 to every other.
        aggregation: of the distances of two images' objects: ``maximum`` (Eq. 9) or ``average`` (Table 4).
        empty: what d_o is where an image has no objects, which Eq. 9 leaves open: ``image``: 1, so that the image
            features alone measure the distance ("in the absence of detected objects"); ``typical``: the mean over all
            pairs of objects of the pool, so that these distances are on the scale of the others (of the squares, and
            then its square root, for ``euclidean``).
        memory_limit: bytes that may be taken beside the inputs, one float64 copy of the objects (two for ``cosine``),
            two of the image features, for averages two of the size N F, and 150 for each object.

    Raises:
        ValueError: the shapes do not fit, ``num_images`` is negative, ``row`` falls or leaves [0, N), a value is not
            finite, or a rule is unknown or says nothing where image features do not count.
    """

    def __init__(
        self,
        objects: Tensor,
        row: Tensor,
        image_features: Tensor | None,
        *,
        num_images: int | None = None,
        metric: Metric = "squared_euclidean",
        aggregation: Aggregation = "maximum",
        empty: EmptyDistance = "image",
        memory_limit: int = MEMORY_LIMIT,
    ) -> None:
        self.num_images = number = _number(image_features, num_images)
        _check(objects, row, number, metric, aggregation, empty, image_features is not None)
        self._root, self._average, self._memory_limit = metric == "euclidean", aggregation == "average", memory_limit
        if metric == "cosine":  # |u - v|^2 = 1 - cos for vectors of length 1 / sqrt 2
            objects = half_unit(objects)
            image_features = None if image_features is None else half_unit(image_features)
        self._images = None if image_features is None else FeatureDistance(image_features, memory_limit)
        every = torch.arange(len(row), device=row.device)
        # one tile: all images with objects, those with most of them first
        self._tile = tiles_of_class(every, row, len(row) + 1)[0] if len(row) else None
        self._objects = objects = centered(objects, "objects")  # a copy of our own
        # mean of |a - b|^2 over all pairs of objects
        typical = 2 * float(self._squared_from(objects.mean(0, keepdim=True)).mean()) if len(row) else 1.0
        self._of_empty = 1.0 if empty == "image" else (math.sqrt(typical) if self._root else typical)
        if self._tile:  # in place, some columns at a time
            for columns in objects.split(max(1, memory_limit // (8 * len(row))), 1):
                columns.copy_(columns[self._tile.instances])
        self._norms = self._squared_from(objects.new_zeros(1, objects.shape[1]))
        counts = torch.bincount(row, minlength=number)
        self._starts, self._counts = counts.cumsum(0) - counts, counts
        self._places = torch.empty_like(every)
        if self._tile:
            self._places[self._tile.instances] = every
        self._image_of = row[self._tile.instances] if self._tile else row
        self._is_empty = counts == 0
        if self._average:
            means = self._mean_by_image(self._objects)
            self._spread = self._mean_by_image(self._squared_from(means, self._image_of)[:, None])
            self._means = FeatureDistance(means, memory_limit)

    def row(self, image: int) -> Tensor:
        """See the base class."""
        distances = self._object_row(image)
        if self._images is not None:
            distances *= self._scaled_squares(self._images.squared_row(image))
        distances[image] = 0.0
        return distances

    def _object_row(self, image: int) -> Tensor:
        """``Float64[N]``: d_o of one image to all; anything for itself."""
        device = self._norms.device
        distances = torch.full((self.num_images,), self._of_empty, dtype=torch.float64, device=device)
        if self._tile is None or bool(self._is_empty[image]):
            return distances
        if self._average and not self._root:
            apart = self._means.squared_row(image) + self._spread[:, 0] + self._spread[image]
            return torch.where(self._is_empty, distances, apart)
        own = self._own(image)
        of_objects = self._from_own(self._objects[own], self._norms[own], self._objects, self._norms)
        if self._average:
            return torch.where(self._is_empty, distances, self._mean_by_image(of_objects[:, None]).flatten())
        by_image = self._tile.max_by_image(of_objects[:, None]).flatten()
        distances[self._tile.images] = self._scaled_squares(by_image)
        return distances

    def _from_own(self, own: Tensor, norms: Tensor, objects: Tensor, squared_lengths: Tensor) -> Tensor:
        """``Float64[J]``: of each of J objects the largest squared, or the average, distance to some."""
        rows = rows_per_block(self._memory_limit, 8 * max(len(own), 1))
        rows = min(rows, 2048) if own.device.type == "cpu" else rows  # 2048: the products stay in the cache
        parts = []
        for others, squares in zip(objects.split(rows), squared_lengths.split(rows), strict=True):
            products = torch.addmm(norms[:, None], own, others.T, alpha=-2)
            if self._average:
                parts.append(products.add_(squares).clamp_(min=0).sqrt_().mean(0))
            else:
                parts.append(products.amax(0).add_(squares).clamp_(min=0))
        return torch.cat(parts)

    def _squared_from(self, centers: Tensor, of: Tensor | None = None) -> Tensor:
        """``Float64[I]``: squared distance of each object to the only center, or to the one that ``of`` names."""
        rows = rows_per_block(self._memory_limit, 16 * max(self._objects.shape[1], 1))
        parts = []
        for start in range(0, len(self._objects), rows):
            here = slice(start, start + rows)
            parts.append((self._objects[here] - (centers if of is None else centers[of[here]])).square_().sum(1))
        return torch.cat([self._objects.new_empty(0), *parts])

    def _mean_squares(self, images: Tensor) -> Tensor:
        """``Float64[n N]``: the average squared distance of the objects of some images to those of all."""
        return self._means.squared_block(images).add_(self._spread.T).add_(self._spread[images])

    def _mean_by_image(self, values: Tensor) -> Tensor:
        """``Float64[N x]``: the mean over each image's objects of ``Float64[I x]``; 0 where it has none."""
        total = values.new_zeros(self.num_images, values.shape[1]).index_add_(0, self._image_of, values)
        return total / self._counts.clamp(min=1)[:, None]

    def largest(self) -> float:
        r"""See the base class.

        An object at r from the center and one at s are at most r + s apart. So :math:`(r + R_u)^2 |f_u - f_v|^2`, with
        the outermost object R_u of u, limits what an object of v can contribute to a maximum, and only objects whose
        limit exceeds the largest distance so far are multiplied. An average of distances is at most the root of the
        average of their squares, which is known without any pair. Images that promise most come first.
        """
        if not self.num_images:
            return 0.0
        lengths = self._norms.sqrt()
        outermost = lengths.new_zeros(self.num_images)
        if self._tile:
            outermost[self._tile.images] = self._tile.max_by_image(lengths[:, None]).flatten()
        radius = outermost.new_ones(()) if self._images is None else self._images.radius
        order = (outermost * radius).argsort(descending=True)
        best = 0.0
        rows = max(1, min(64, rows_per_block(self._memory_limit, 48 * max(self.num_images, 1))))
        for images in order.split(rows):
            between = self._between(images)
            unknown = self._is_empty | self._is_empty[images, None]
            best = max(best, float(torch.where(unknown, between * self._of_empty, 0.0).max()))
            limits = self._limits(images, outermost).mul_(between).masked_fill_(unknown, 0.0)
            if self._average and not self._root:
                best = max(best, float(limits.max()))  # these are the distances
                continue
            for image, distances, limit in zip(images.tolist(), between, limits, strict=True):
                if float(limit.max()) * _ROUNDING > best:
                    best = max(best, self._largest_of(image, distances, limit * _ROUNDING > best, lengths, best))
        return best

    def _between(self, images: Tensor) -> Tensor:
        """``Float64[n N]``: the second factor of Eq. 10, 0 for an image and itself."""
        if self._images is None:
            between = self._norms.new_ones(len(images), self.num_images)
        else:
            between = self._scaled_squares(self._images.squared_block(images))
        between[torch.arange(len(images), device=images.device), images] = 0.0
        return between

    def _limits(self, images: Tensor, outermost: Tensor) -> Tensor:
        """``Float64[n N]``: what d_o is at most."""
        if self._average:
            return self._scaled_squares(self._mean_squares(images))
        return self._scaled(outermost[images, None] + outermost)

    def _largest_of(self, image: int, between: Tensor, promising: Tensor, lengths: Tensor, best: float) -> float:
        """The largest distance of an image to some others, or anything below ``best``."""
        own, objects = self._own(image), self._objects_of(promising.nonzero().flatten())
        factor = between[self._image_of[objects]]
        if not self._average:
            kept = self._scaled(lengths[objects] + lengths[own].max()).mul_(factor) * _ROUNDING > best
            objects, factor = objects[kept], factor[kept]
        if not len(objects):
            return 0.0
        rows = rows_per_block(self._memory_limit, 16 * max(self._objects.shape[1], 1))
        ours = self._objects[own], self._norms[own]
        parts = objects.split(rows)  # their features are copied: never all at once
        found = torch.cat([self._from_own(*ours, self._objects[part], self._norms[part]) for part in parts])
        if not self._average:
            return float(self._scaled_squares(found).mul_(factor).max())
        total = found.new_zeros(self.num_images).index_add_(0, self._image_of[objects], found)
        return float((total / self._counts.clamp(min=1)).mul_(between).max())

    def _scaled(self, lengths: Tensor) -> Tensor:
        return lengths if self._root else lengths.square()

    def _scaled_squares(self, squares: Tensor) -> Tensor:
        """Distances of the metric from squared ones, in place."""
        return squares.sqrt_() if self._root else squares

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


def half_unit(features: Tensor) -> Tensor:
    r"""``Float64[. F]`` or ``[. F + 1]``: vectors of length :math:`1 / \sqrt 2` in the same directions.

    Vectors of zeros, where there are any, get a direction of their own, at right angles to all others.
    """
    features = features.double()
    length = features.square().sum(1, keepdim=True).sqrt()
    is_zero = length == 0
    if bool(is_zero.any()):
        features, length = torch.cat([features, is_zero.double()], 1), torch.where(is_zero, 1.0, length)
    return features / (length * math.sqrt(2))


def _number(image_features: Tensor | None, num_images: int | None) -> int:
    if (image_features is None) == (num_images is None):
        raise ValueError("image_features or num_images must be given, got both or neither")
    if num_images is not None and num_images < 0:
        raise ValueError(f"num_images must be >= 0, got {num_images}")
    return len(image_features) if image_features is not None else int(num_images or 0)


def _check(
    objects: Tensor, row: Tensor, number: int, metric: str, aggregation: str, empty: str, has_image_features: bool
) -> None:
    if objects.ndim != 2 or row.shape != objects.shape[:1]:
        raise ValueError(f"objects and row must be [I F] and [I], got {list(objects.shape)}, {list(row.shape)}")
    if len(row) and (bool((row.diff() < 0).any()) or int(row[0]) < 0 or int(row[-1]) >= number):
        raise ValueError(f"row must be ascending in [0, {number}), got {row[:5].tolist()} ... {row[-5:].tolist()}")
    options = {"metric": (metric, METRICS), "aggregation": (aggregation, AGGREGATIONS)}
    for name, (given, known) in {**options, "empty": (empty, EMPTY_DISTANCES)}.items():
        if given not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {given!r}")
    if empty == "image" and not has_image_features:
        raise ValueError("empty must be typical where there are no image features, got 'image'")
