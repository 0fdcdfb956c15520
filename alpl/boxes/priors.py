"""The prior boxes of SSD.

Axes: P priors; a prior is (cx, cy, w, h) in units of the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from alpl.errors import ConfigError


@final
@dataclass(frozen=True)
class PriorLayout:
    """The numbers that the priors of one SSD are made of; see :func:`ssd_priors`.

    Args:
        image_size: side of the square input, in pixels.
        map_sizes: side of each feature map, in cells.
        steps: pixels from cell to cell, one a map.
        min_sizes: side of the small square prior in pixels, one a map.
        max_sizes: one a map; the large square prior has the geometric mean of both as its side.
        aspect_ratios: for each map the ratios beside 1, each of which gives a wide and a high prior.
        clip: whether cx, cy, w and h are clipped to [0, 1].

    Raises:
        ConfigError: a list does not have one entry a map, or holds a number that is not positive.
    """

    image_size: int
    map_sizes: Sequence[int]
    steps: Sequence[float]
    min_sizes: Sequence[float]
    max_sizes: Sequence[float]
    aspect_ratios: Sequence[Sequence[float]]
    clip: bool = True

    def __post_init__(self) -> None:
        for name in ("map_sizes", "steps", "min_sizes", "max_sizes", "aspect_ratios"):
            values = getattr(self, name)
            if len(values) != len(self.map_sizes) or not len(values):
                raise ConfigError(f"{name} must have one entry for each of {len(self.map_sizes)} maps, got {values}")
            flat = [number for ratios in values for number in ratios] if name == "aspect_ratios" else values
            if not all(number > 0 for number in flat):
                raise ConfigError(f"{name} must be > 0, got {values}")
        if self.image_size < 1:
            raise ConfigError(f"image_size must be >= 1, got {self.image_size}")

    @property
    def boxes_per_cell(self) -> tuple[int, ...]:
        """How many priors a cell of each map has."""
        return tuple(2 + 2 * len(ratios) for ratios in self.aspect_ratios)

    @property
    def num_priors(self) -> int:
        """P."""
        return sum(side**2 * boxes for side, boxes in zip(self.map_sizes, self.boxes_per_cell, strict=True))

    def priors(self) -> Tensor:
        """``Float32[P 4]``, cxcywh."""
        return ssd_priors(
            self.image_size,
            self.map_sizes,
            self.steps,
            self.min_sizes,
            self.max_sizes,
            self.aspect_ratios,
            clip=self.clip,
        )


def ssd_priors(
    image_size: int,
    map_sizes: Sequence[int],
    steps: Sequence[float],
    min_sizes: Sequence[float],
    max_sizes: Sequence[float],
    aspect_ratios: Sequence[Sequence[float]],
    clip: bool = True,
) -> Tensor:
    r"""Give the priors of all maps (Liu et al. 2016, sec. 2.2, with the steps of the released models).

    Cell (i, j) of a map has its center at

    .. math:: (c_x, c_y) = \left(\frac{j + 1/2}{S / t}, \frac{i + 1/2}{S / t}\right)

    with image size S and step t. Because the released models divide by S / t and not by the side of the map, centers
    can lie beyond 1 before they are clipped. With :math:`s = s_{min} / S` and :math:`s' = \sqrt{s\, s_{max} / S}` the
    sizes of a cell's priors are, in this order, :math:`(s, s)`, :math:`(s', s')` and for each aspect ratio a
    :math:`(s \sqrt a, s / \sqrt a)`, :math:`(s / \sqrt a, s \sqrt a)`.

    Args:
        image_size: S; see :class:`PriorLayout`, also for the others.
        map_sizes: one number a map.
        steps: t.
        min_sizes: :math:`s_{min}`.
        max_sizes: :math:`s_{max}`.
        aspect_ratios: one list a map.
        clip: to [0, 1].

    Returns:
        ``Float32[P 4]``, cxcywh; order: map, row i, column j, prior of the cell.
    """
    maps = []
    for side, step, small, large, ratios in zip(map_sizes, steps, min_sizes, max_sizes, aspect_ratios, strict=True):
        sizes = _cell_sizes(small / image_size, large / image_size, ratios)
        centers = (torch.arange(side, dtype=torch.float64) + 0.5) / (image_size / step)
        cy, cx = torch.meshgrid(centers, centers, indexing="ij")
        cells = torch.stack([cx, cy], -1).view(-1, 1, 2).expand(-1, len(sizes), 2)
        maps.append(torch.cat([cells, sizes.expand(side**2, -1, 2)], -1).reshape(-1, 4))
    priors = torch.cat(maps).float()
    return priors.clamp(0, 1) if clip else priors


def _cell_sizes(small: float, large: float, ratios: Sequence[float]) -> Tensor:
    """Give ``Float64[boxes 2]``: width and height of each prior of a cell."""
    between = math.sqrt(small * large)
    sizes = [(small, small), (between, between)]
    for ratio in ratios:
        root = math.sqrt(ratio)
        sizes += [(small * root, small / root), (small / root, small * root)]
    return torch.tensor(sizes, dtype=torch.float64)


_RATIOS_300 = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,))

VOC_300 = PriorLayout(
    image_size=300,
    map_sizes=(38, 19, 10, 5, 3, 1),
    steps=(8, 16, 32, 64, 100, 300),
    min_sizes=(30, 60, 111, 162, 213, 264),
    max_sizes=(60, 111, 162, 213, 264, 315),
    aspect_ratios=_RATIOS_300,
)
"""SSD300 on PASCAL VOC: 8,732 priors."""

COCO_300 = replace(VOC_300, min_sizes=(21, 45, 99, 153, 207, 261), max_sizes=(45, 99, 153, 207, 261, 315))
"""SSD300 on MS-COCO: as many priors, smaller ones."""

TINY_96 = PriorLayout(
    image_size=96,
    map_sizes=(24, 12, 6, 3),
    steps=(4, 8, 16, 32),
    min_sizes=(12, 20, 34, 56),
    max_sizes=(20, 34, 56, 90),
    aspect_ratios=((1.5,), (1.5,), (1.5,), (1.5,)),
)
"""For images of 96 pixels and the maps of ``alpl.networks.ssd.TinySsd``: 3,060 priors from 12 to 87 pixels."""
