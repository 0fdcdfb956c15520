"""The detections of one class, cut into tiles whose products can be reduced image by image with plain slices.

Axes: N images, I detections, m detections of a tile, n images of a tile.

In a tile the first detections of all images come first, then the second ones, and so on, the images with most
detections in front. So the k-th detections are those of the tile's first images, and a maximum over the detections of
each image is a maximum of slices, without any index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


@final
@dataclass(frozen=True, eq=False)
class Tile:
    """Some images and all their detections of one class.

    Args:
        images: ``Long[n]``, those with most detections first.
        instances: ``Long[m]`` positions in I; see above for their order.
        group_sizes: how many images have a first, second, ... detection; falls, and sums to m.
    """

    images: Tensor
    instances: Tensor
    group_sizes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.instances)

    def max_by_image(self, values: Tensor) -> Tensor:
        """``Float[n x]``: the largest of ``Float[m x]`` values over each image's detections."""
        largest = values[: self.group_sizes[0]].clone()
        start = self.group_sizes[0]
        for size in self.group_sizes[1:]:
            torch.maximum(largest[:size], values[start : start + size], out=largest[:size])
            start += size
        return largest

    def sum_by_image(self, values: Tensor) -> Tensor:
        """``Float[n x]``: the same with the sum; overwrites the first rows of ``values``."""
        total = values[: self.group_sizes[0]]
        start = self.group_sizes[0]
        for size in self.group_sizes[1:]:
            total[:size] += values[start : start + size]
            start += size
        return total


def tiles_of_class(instances: Tensor, row: Tensor, size: int) -> list[Tile]:
    """Cut the detections of a class into tiles, the images ascending from tile to tile.

    Args:
        instances: ``Long[J]`` the positions of the class's detections, ascending.
        row: ``Long[I]`` the image of each of all detections, ascending.
        size: about how many detections a tile has; an image is never cut.
    """
    images, counts = torch.unique_consecutive(row[instances], return_counts=True)
    before = counts.cumsum(0) - counts
    tile_of_image = before // size
    order = torch.argsort(counts, descending=True, stable=True)
    order = order[torch.argsort(tile_of_image[order], stable=True)]  # by tile, then by count
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)

    owner = torch.arange(len(images), device=images.device).repeat_interleave(counts)
    number = torch.arange(len(instances), device=instances.device) - before[owner]  # k: 0 for the first of an image
    by_place = torch.argsort(place[owner], stable=True)
    by_number = by_place[torch.argsort(number[by_place], stable=True)]
    tile = tile_of_image[owner]
    sorted_instances = by_number[torch.argsort(tile[by_number], stable=True)]

    tiles = []
    image_parts = images[order].split(_sizes(tile_of_image))
    parts = sorted_instances.split(_sizes(tile))
    for of_images, part in zip(image_parts, parts, strict=True):
        tiles.append(Tile(of_images, instances[part], tuple(torch.bincount(number[part]).tolist())))
    return tiles


def _sizes(tile: Tensor) -> list[int]:
    """Give how many belong to each tile that has any."""
    sizes = torch.bincount(tile)
    found: list[int] = sizes[sizes > 0].tolist()
    return found
