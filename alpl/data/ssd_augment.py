"""SSD's data augmentation and pre-processing (Liu et al. 2016, sec. 2.2 and 3.6), one image at a time.

Axes: H and W pixels, n objects, S the side of the network's input. All draws come from the generator that is passed
in, so an image and a seed give the same result in every process. Nothing here needs objects: an image without any,
such as an unlabeled one, is distorted, expanded, cropped and mirrored by the same rules less those on objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Generator, Tensor

from alpl.boxes.objects import Objects
from alpl.data.patches import (
    MAX_RATIO,
    MIN_OVERLAPS,
    CropRule,
    Patch,
    cut,
    keep_inside,
    mirror,
    move,
    random_canvas,
    random_patch,
    resample,
)
from alpl.data.photometric import distort, random_distortion
from alpl.errors import ConfigError
from alpl.machine.seeding import coin

PIXEL_MEAN = (123.0, 117.0, 104.0)
"""RGB; what SSD subtracts from pixels of 0 to 255."""


@final
class SsdPreprocess:
    """Resize to a square (bilinear, aspect ratio not kept) and subtract the mean; no scaling.

    Args:
        size: S.
        mean: RGB, of pixels of 0 to 255.

    Raises:
        ConfigError: ``size`` is below 1, or ``mean`` is not three numbers.
    """

    def __init__(self, size: int = 300, mean: Sequence[float] = PIXEL_MEAN) -> None:
        if size < 1:
            raise ConfigError(f"size must be >= 1, got {size}")
        if len(mean) != 3:
            raise ConfigError(f"mean must be three numbers, got {list(mean)}")
        self.size = size
        self.mean = torch.tensor([float(value) for value in mean]).view(3, 1, 1)

    def __call__(self, image: Tensor) -> Tensor:
        """``[3 H W]``, 0 to 255 -> ``Float[3 S S]``."""
        _, height, width = image.shape
        return self.show(image.float(), Patch(0, 0, width, height))

    def pixels(self, shown: Tensor) -> Tensor:
        """``Float[3 S S]``, the network's input -> pixels of 0 to 255."""
        return shown + self.mean

    def normalized(self, pixels: Tensor) -> Tensor:
        """Turn :meth:`pixels` around."""
        return pixels - self.mean

    def show(self, pixels: Tensor, patch: Patch) -> Tensor:
        """Give a part of an image (``Float[3 H W]``) as ``Float[3 S S]``; what lies beyond the image is the mean."""
        return self.normalized(resample(pixels, patch, self.mean, self.size))


@final
class SsdAugmentation:
    """Photometric distortion, expansion, crop, resize, mean subtraction, and mirror, in this order.

    SSD mirrors before it resizes, which gives the same.

    Args:
        size: S.
        mean: RGB, of pixels of 0 to 255; fills the border of an expanded image.
        crop: "as_written" enforces the minimum overlap of a patch with the objects, "as_released" (the PyTorch code
            that the works on active learning build on) does not; see :func:`random_patch`.
        max_ratio: of the sides of an expanded image to those of its original; 1 does not expand.

    Raises:
        ConfigError: an argument is not one of these.
    """

    def __init__(
        self,
        size: int = 300,
        mean: Sequence[float] = PIXEL_MEAN,
        crop: CropRule = "as_written",
        max_ratio: float = MAX_RATIO,
    ) -> None:
        if crop not in MIN_OVERLAPS:
            raise ConfigError(f"crop must be one of {', '.join(MIN_OVERLAPS)}, got {crop!r}")
        if max_ratio < 1:
            raise ConfigError(f"max_ratio must be >= 1, got {max_ratio}")
        self.max_ratio = max_ratio
        self.preprocess = SsdPreprocess(size, mean)
        self.crop = crop

    def __call__(self, image: Tensor, objects: Objects, generator: Generator) -> tuple[Tensor, Objects]:
        """Augment one image.

        Args:
            image: ``UInt8[3 H W]``, RGB.
            objects: boxes in its pixels; none for an unlabeled image.
            generator: of the CPU; its draws decide everything.

        Returns:
            ``Float[3 S S]`` and the objects that are left, boxes in pixels of the result (0 to S).
        """
        change = random_distortion(generator)
        canvas = random_canvas(image.shape[1], image.shape[2], generator, self.max_ratio)
        patch = random_patch(canvas, objects.boxes, generator, self.crop)
        objects = move(objects, canvas) if patch is None else keep_inside(objects, patch)
        patch = patch or canvas
        # the canvas is never filled: only the pixels that are shown are changed and computed
        part, place = cut(image, patch)
        shown = self.preprocess.show(change(part.float()), place)
        scale = torch.tensor([self.preprocess.size / patch.width, self.preprocess.size / patch.height]).repeat(2)
        objects = Objects(objects.boxes * scale, objects.labels, objects.difficult)
        return mirror(shown, objects) if coin(generator) else (shown, objects)


@final
class PhotometricAugmentation:
    """The photometric part of :class:`SsdAugmentation` alone: for small scenes that crops would make unreadable.

    Args:
        size: S.
        mean: RGB, of pixels of 0 to 255.
    """

    def __init__(self, size: int = 300, mean: Sequence[float] = PIXEL_MEAN) -> None:
        self.preprocess = SsdPreprocess(size, mean)

    def __call__(self, image: Tensor, objects: Objects, generator: Generator) -> tuple[Tensor, Objects]:
        """Augment one image; see :meth:`SsdAugmentation.__call__`."""
        height, width = image.shape[1:]
        scale = torch.tensor([self.preprocess.size / width, self.preprocess.size / height]).repeat(2)
        moved = Objects(objects.boxes * scale, objects.labels, objects.difficult)
        return self.preprocess(distort(image.float(), generator)), moved
