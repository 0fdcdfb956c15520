"""Batch transforms that give another view of small images than augmentation does, on the device of the batch.

Axes: B images of a batch, C channels, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from alpl.data.augment import Compose, Transform
from alpl.errors import ConfigError


@final
class TwoViews:
    """Two random views of each image, drawn independently; the last of the transforms of a data module.

    Args:
        augment: transforms of a view, in order.

    Raises:
        ConfigError: there is none: both views would be the same.
    """

    def __init__(self, augment: Sequence[Transform]) -> None:
        if not augment:
            raise ConfigError("augment must hold a transform, or both views are the same, got none")
        self.augment = Compose(*augment)

    def __call__(self, images: Tensor) -> Tensor:
        """Give ``[B 2 C H W]`` of ``images`` (``[B C H W]``)."""
        return torch.stack([self.augment(images), self.augment(images)], 1)


@final
class ResizeCrop:
    """Resize the shorter side (bilinear, antialias), then cut out the center: torchvision's ``Resize``, ``CenterCrop``.

    Args:
        resize: pixels of the shorter side.
        crop: side of the result.

    Raises:
        ConfigError: ``crop`` is not in 1 to ``resize``.
    """

    def __init__(self, resize: int, crop: int) -> None:
        if not 1 <= crop <= resize:
            raise ConfigError(f"crop must be in 1 to resize ({resize}), got {crop}")
        self.resize, self.crop = resize, crop

    def __call__(self, images: Tensor) -> Tensor:
        """``[B C H W]`` -> ``[B C crop crop]`` of the same type."""
        resized = functional.resize(images, [self.resize], antialias=True)
        cut: Tensor = functional.center_crop(resized, [self.crop, self.crop])
        return cut
