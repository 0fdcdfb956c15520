"""Anchors on the maps of a pyramid, for all detectors that have them.

Axes: P anchors over all maps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator

from alpl.errors import ConfigError


def anchor_generator(sizes: Sequence[Sequence[float]], ratios: Sequence[float], num_maps: int) -> AnchorGenerator:
    """Make torchvision's generator; the anchors of a cell are all sizes of all ratios.

    Args:
        sizes: of each map, in pixels of the input; as many for every map.
        ratios: height to width.
        num_maps: of the pyramid.

    Raises:
        ConfigError: there are not ``num_maps`` lists of equal length, or a number is not above 0.
    """
    numbers = {len(each) for each in sizes}
    if len(sizes) != num_maps or len(numbers) != 1 or 0 in numbers or not len(ratios):
        raise ConfigError(f"anchor_sizes must be {num_maps} lists of equal length, one a map, got {sizes}")
    if min(*(number for each in sizes for number in each), *ratios) <= 0:
        raise ConfigError(f"anchor_sizes and aspect_ratios must be > 0, got {sizes} and {ratios}")
    return AnchorGenerator(tuple(tuple(each) for each in sizes), (tuple(ratios),) * num_maps)


def anchors_of(generator: AnchorGenerator, maps: Sequence[Tensor], images: Tensor) -> Tensor:
    """``Float32[P 4]`` xyxy, in pixels of the padded input; all images of a batch have the same.

    Not by the generator's ``forward``, whose anchors have the type of the maps: bfloat16 cannot tell pixel 301 from
    pixel 302.
    """
    generator.set_cell_anchors(torch.float32, images.device)
    grids = [list(map_.shape[2:]) for map_ in maps]
    strides = [[size // side for size, side in zip(images.shape[2:], grid, strict=True)] for grid in grids]
    return torch.cat(generator.grid_anchors(grids, strides))
