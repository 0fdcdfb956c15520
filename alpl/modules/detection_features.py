"""One feature vector a detection, read from the maps that an SSD's heads saw.

Axes: B images, D detections of the batch, F features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torchvision.ops import roi_align

from alpl.errors import ConfigError

_LEAST_SIDE = 1e-3  # in cells: RoI align takes no sample in an empty region


class AbstractDetectionFeatures(ABC):
    """Gives features of detections."""

    @abstractmethod
    def check(self, map_channels: Sequence[int]) -> None:
        """Refuse maps of these widths.

        Raises:
            ConfigError: they cannot be read from.
        """

    @abstractmethod
    def __call__(
        self, maps: Sequence[Tensor], boxes: Tensor, row: Tensor, sources: Tensor, boxes_per_cell: Sequence[int]
    ) -> Tensor:
        """Read the features.

        Args:
            maps: ``[B channels side side]`` each.
            boxes: ``Float[D 4]`` xyxy, each side of the image is 1; they may reach beyond it.
            row: ``Long[D]`` which of the B images.
            sources: ``Long[D]`` the prior that each detection comes from.
            boxes_per_cell: priors of a cell, one number a map.

        Returns:
            ``Float[D F]``.
        """


@final
@dataclass(frozen=True)
class RoiFeatures(AbstractDetectionFeatures):
    """The average of one map over a detection's box (RoI align, He et al. 2017).

    The part of the box inside the image counts; of a box outside it, the nearest cell.

    Args:
        level: which map, 0 is the first; 1 is fc7 of VGG-16.
        output_size: bins along each axis, whose average is taken.

    Raises:
        ConfigError: a value is out of range.
    """

    level: int = 1
    output_size: int = 1

    def __post_init__(self) -> None:
        if self.level < 0 or self.output_size < 1:
            raise ConfigError(
                f"features.level must be >= 0 and output_size >= 1, got {self.level} and {self.output_size}"
            )

    def check(self, map_channels: Sequence[int]) -> None:
        """See the base class."""
        if self.level >= len(map_channels):
            raise ConfigError(f"features.level must be < {len(map_channels)}, the number of maps, got {self.level}")

    def __call__(
        self, maps: Sequence[Tensor], boxes: Tensor, row: Tensor, sources: Tensor, boxes_per_cell: Sequence[int]
    ) -> Tensor:
        """See the base class; F is the width of the map."""
        map_ = maps[self.level].float()
        height, width = map_.shape[-2:]
        rois = boxes.float().clamp(0, 1) * boxes.new_tensor([width, height, width, height], dtype=torch.float32)
        ends = torch.maximum(rois[:, 2:], rois[:, :2] + _LEAST_SIDE)
        regions = torch.cat([row[:, None].to(rois), rois[:, :2], ends], 1)
        bins: Tensor = roi_align(map_, regions, self.output_size, aligned=True)
        return bins.mean((2, 3))


@final
@dataclass(frozen=True)
class PointFeatures(AbstractDetectionFeatures):
    """What the head saw at the cell of the detection's prior, on the map of that prior.

    The maps must have one width, which those of VGG-16 and ResNet do not.
    """

    def check(self, map_channels: Sequence[int]) -> None:
        """See the base class."""
        if len(set(map_channels)) != 1:
            raise ConfigError(
                "features of points need maps of one width (alpl.modules.detection_features.RoiFeatures does not), "
                f"got {list(map_channels)}"
            )

    def __call__(
        self, maps: Sequence[Tensor], boxes: Tensor, row: Tensor, sources: Tensor, boxes_per_cell: Sequence[int]
    ) -> Tensor:
        """See the base class; F is the width of the maps."""
        features = boxes.new_zeros(len(row), maps[0].shape[1], dtype=torch.float32)
        start = 0
        for map_, number in zip(maps, boxes_per_cell, strict=True):
            cells = map_.shape[-2] * map_.shape[-1]
            here = (sources >= start) & (sources < start + cells * number)
            place = (sources[here] - start) // number
            features[here] = map_.float().flatten(2)[row[here], :, place]
            start += cells * number
        return features
