"""Pre-processing of detectors that take images of any shape: resize without distortion, and mirror.

The numbers are those of torchvision's ``GeneralizedRCNNTransform`` (normalize, then bilinear without antialias), and
the sizes those of mmdetection's ``(1333, 800)``. Padding to a common size is the batch's part.

Axes: H and W pixels of the original, h and w of the network's input, n objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, final

import torch
from torch import Generator, Tensor

from alpl.boxes.objects import Objects
from alpl.data.patches import mirror
from alpl.data.photometric import distort
from alpl.errors import ConfigError

Side: TypeAlias = Literal["shorter", "height"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""RGB, of pixels of 0 to 1; what torchvision's weights expect."""


@final
class KeepRatioResize:
    """Scale to [0, 1], normalize, and resize: the shorter side to ``min_size``, the longer to at most ``max_size``.

    Args:
        min_size: pixels; of the height instead where ``side`` says so.
        max_size: pixels.
        mean: RGB, of pixels of 0 to 1.
        std: RGB.
        black: what the batch pads with, black or, by default, the mean color.
        side: which side becomes ``min_size``: the ``shorter`` one, or the ``height``, also of upright images (thesis
            sec. 2.5.1).

    Raises:
        ConfigError: ``min_size`` is not in 1 to ``max_size``, mean and std are not three numbers (std above 0), or
            ``side`` is unknown.
    """

    def __init__(
        self,
        min_size: int,
        max_size: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        *,
        black: bool = False,
        side: Side = "shorter",
    ) -> None:
        if side not in ("shorter", "height"):
            raise ConfigError(f"side must be shorter or height, got {side!r}")
        if not 1 <= min_size <= max_size:
            raise ConfigError(f"min_size must be in 1 to max_size ({max_size}), got {min_size}")
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ConfigError(f"mean and std must be three numbers, std > 0, got {list(mean)} and {list(std)}")
        self.min_size, self.max_size, self.side = min_size, max_size, side
        self.mean = torch.tensor([float(value) for value in mean]).view(3, 1, 1)
        self.std = torch.tensor([float(value) for value in std]).view(3, 1, 1)
        self.fill = -self.mean / self.std if black else None

    def __call__(self, image: Tensor) -> Tensor:
        """``[3 H W]``, 0 to 255 -> ``Float[3 h w]``."""
        pixels = self.normalized(image.float())
        size = self.size_of(image.shape[1], image.shape[2])
        resized: Tensor = torch.nn.functional.interpolate(
            pixels[None], size=size, mode="bilinear", align_corners=False
        )[0]
        return resized

    def pixels(self, shown: Tensor) -> Tensor:
        """``Float[3 h w]``, the network's input -> pixels of 0 to 255."""
        return (shown * self.std + self.mean) * 255

    def normalized(self, pixels: Tensor) -> Tensor:
        """Turn :meth:`pixels` around."""
        return (pixels / 255 - self.mean) / self.std

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Give h and w for an image of H x W; at least one pixel each.

        >>> KeepRatioResize(800, 1333).size_of(375, 500), KeepRatioResize(800, 1333).size_of(300, 600)
        ((800, 1066), (666, 1333))
        """
        measured = height if self.side == "height" else min(height, width)
        scale = min(self.min_size / measured, self.max_size / max(height, width))
        return max(1, int(height * scale)), max(1, int(width * scale))


@final
class KeepRatioAugmentation:
    """Mirror at random, and resize as :class:`KeepRatioResize`.

    Args:
        min_size: see :class:`KeepRatioResize`, also for ``max_size``, ``mean`` and ``std``.
        max_size: pixels.
        mean: RGB.
        std: RGB.
        flip: probability of the mirror image.
        photometric: whether colors are changed as SSD does (:func:`alpl.data.photometric.distort`); not published for
            RetinaNet, FCOS or Faster R-CNN.
        side: see :class:`KeepRatioResize`.

    Raises:
        ConfigError: ``flip`` is not in [0, 1], or see :class:`KeepRatioResize`.
    """

    def __init__(
        self,
        min_size: int,
        max_size: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        *,
        flip: float = 0.5,
        photometric: bool = False,
        side: Side = "shorter",
    ) -> None:
        if not 0 <= flip <= 1:
            raise ConfigError(f"flip must be in [0, 1], got {flip}")
        self.resize = KeepRatioResize(min_size, max_size, mean, std, side=side)
        self.flip, self.photometric = flip, photometric

    def __call__(self, image: Tensor, objects: Objects, generator: Generator) -> tuple[Tensor, Objects]:
        """Augment one image.

        Args:
            image: ``UInt8[3 H W]``, RGB.
            objects: boxes in its pixels; none for an unlabeled image.
            generator: of the CPU; its draws decide everything.

        Returns:
            ``Float[3 h w]`` and the objects, boxes in pixels of the result.
        """
        pixels = distort(image.float(), generator) if self.photometric else image
        shown = self.resize(pixels)
        moved = Objects(
            resize_boxes(objects.boxes, image.shape[1:], shown.shape[1:]), objects.labels, objects.difficult
        )
        # drawn in any case, so that what follows does not depend on the probability
        mirrored = float(torch.rand((), generator=generator)) < self.flip
        return mirror(shown, moved) if mirrored else (shown, moved)


def resize_boxes(boxes: Tensor, before: Sequence[int], after: Sequence[int]) -> Tensor:
    """``Float[n 4]`` xyxy in an image of height and width ``before`` -> in one of ``after``.

    >>> resize_boxes(torch.tensor([[0.0, 0.0, 10.0, 20.0]]), (40, 20), (20, 20))
    tensor([[ 0.,  0., 10., 10.]])
    """
    high, wide = (torch.tensor(float(new)) / torch.tensor(float(old)) for old, new in zip(before, after, strict=True))
    return boxes * torch.stack([wide, high, wide, high]).to(boxes)
