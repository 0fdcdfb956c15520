"""CenterNet's data augmentation (Zhou et al. 2019, "Objects as points", and their code), one image at a time.

Axes: H and W pixels of the original, h and w of the network's input, n objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Generator, Tensor

from alpl.boxes.objects import Objects
from alpl.data.keep_ratio import IMAGENET_MEAN, IMAGENET_STD, KeepRatioResize, resize_boxes
from alpl.data.patches import Patch, cut, cut_off, mirror, resample
from alpl.errors import ConfigError
from alpl.machine.seeding import integer, uniform

SCALES = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
BORDER = 128
"""Pixels from the center of a patch to the borders of its image, at least; less of small images."""
JITTER = 0.4
LIGHTING = 0.1
_GRAY = (0.299, 0.587, 0.114)  # of red, green and blue
# principal components of ImageNet's colors, RGB, as everybody has them since Krizhevsky et al. 2012
_EIGENVALUES = (0.2175, 0.0188, 0.0045)
_EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


@final
class CenterAugmentation:
    """A part of the image that may reach beyond it (black there), mirrored at random, in other colors; normalized.

    Objects are cut off at the borders of the part, not left out where their center lies beyond.

    Args:
        height: h.
        width: w; the part is 0.6 to 1.3 times the longer side of the image wide, and of this shape.
        mean: RGB, of pixels of 0 to 1.
        std: RGB.
        flip: probability of the mirror image.

    Raises:
        ConfigError: a side is below 1, ``flip`` is not in [0, 1], or mean and std are not three numbers (std above 0).
    """

    def __init__(
        self,
        height: int,
        width: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        *,
        flip: float = 0.5,
    ) -> None:
        if min(height, width) < 1:
            raise ConfigError(f"height and width must be >= 1, got {height} and {width}")
        if not 0 <= flip <= 1:
            raise ConfigError(f"flip must be in [0, 1], got {flip}")
        self.size = height, width
        self.normalized = KeepRatioResize(1, 1, mean, std).normalized
        self.flip = flip

    def __call__(self, image: Tensor, objects: Objects, generator: Generator) -> tuple[Tensor, Objects]:
        """Augment one image.

        Args:
            image: ``UInt8[3 H W]``, RGB.
            objects: boxes in its pixels; none for an unlabeled image.
            generator: of the CPU; its draws decide everything.

        Returns:
            ``Float[3 h w]`` and the objects that are seen, boxes in pixels of the result.
        """
        patch = random_part(image.shape[1], image.shape[2], self.size, generator)
        # drawn in any case, so that what follows does not depend on the probability
        mirrored = float(torch.rand((), generator=generator)) < self.flip
        part, place = cut(image, patch)
        shown = resample(part.float(), place, torch.zeros(3, 1, 1), self.size)
        seen = cut_off(objects, patch)
        moved = Objects(resize_boxes(seen.boxes, (patch.height, patch.width), self.size), seen.labels, seen.difficult)
        if mirrored:
            shown, moved = mirror(shown, moved)
        return self.normalized(jitter(shown / 255, generator) * 255), moved


def random_part(height: int, width: int, shape: tuple[int, int], generator: Generator) -> Patch:
    """Draw the part of an image of H x W that is shown: its width, one of eight, then its center.

    Args:
        height: H.
        width: W.
        shape: h and w, of whose ratio the part is.
        generator: of the CPU.
    """
    wide = max(1, round(SCALES[integer(generator, len(SCALES))] * max(height, width)))
    high = max(1, round(wide * shape[0] / shape[1]))
    x, y = (_center(side, generator) for side in (width, height))
    left, top = x - wide // 2, y - high // 2
    return Patch(left, top, left + wide, top + high)


def _center(side: int, generator: Generator) -> int:
    """Draw a pixel at least :data:`BORDER` from both ends; halved until there is one."""
    border = BORDER
    while side - border <= border and border > 0:
        border //= 2
    return border + integer(generator, side - 2 * border)


def jitter(pixels: Tensor, generator: Generator) -> Tensor:
    """Change brightness, contrast and saturation by up to 40 % each, in any order, then the light (AlexNet's).

    Args:
        pixels: ``Float[3 h w]`` of 0 to 1; nothing is clipped.
        generator: of the CPU; its draws decide everything.

    Returns:
        ``Float[3 h w]``, another tensor.
    """
    gray = (pixels * pixels.new_tensor(_GRAY)[:, None, None]).sum(0)
    towards = pixels.new_zeros(()), gray.mean(), gray  # what is mixed with the image, all taken before any change
    for kind in torch.randperm(3, generator=generator).tolist():
        share = 1 + uniform(generator, -JITTER, JITTER)
        pixels = pixels * share + towards[kind] * (1 - share)
    drawn = torch.randn(3, generator=generator) * LIGHTING
    light = torch.tensor(_EIGENVECTORS) @ (torch.tensor(_EIGENVALUES) * drawn)
    return pixels + light.to(pixels)[:, None, None]
