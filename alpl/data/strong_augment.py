"""The strong view of an image that a student is trained on (SoftTeacher, Xu et al. 2021), with its known way.

Axes: h and w pixels of both views.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, final

import torch
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as _functional

from alpl.data.pair import Preprocess, SecondView, about_center, warped
from alpl.errors import ConfigError
from alpl.machine.seeding import coin, integer, uniform

functional: Any = _functional  # its dispatchers are typed by what they take of several kinds of images

Recolor: TypeAlias = Callable[[Tensor, int], Tensor]

_LEVELS = 9
"""A change is drawn at level 1 to 9 of 10."""


def _factor(level: int) -> float:
    return 0.1 + 0.18 * level


COLORS: dict[str, Recolor] = {
    "identity": lambda image, level: image,
    "autocontrast": lambda image, level: functional.autocontrast(image),
    "equalize": lambda image, level: functional.equalize(image),
    "solarize": lambda image, level: functional.solarize(image, int(25.6 * level)),
    "posterize": lambda image, level: functional.posterize(image, 4 - int(0.4 * level)),
    "saturation": lambda image, level: functional.adjust_saturation(image, _factor(level)),
    "contrast": lambda image, level: functional.adjust_contrast(image, _factor(level)),
    "brightness": lambda image, level: functional.adjust_brightness(image, _factor(level)),
    "sharpness": lambda image, level: functional.adjust_sharpness(image, _factor(level)),
}
"""``UInt8[3 h w]`` and a level -> ``UInt8[3 h w]``; one of them is drawn."""


@final
class StrongAugment:
    """Other colors and another place, in either order, then erased patches: the released code's numbers by default.

    Colors: one of :data:`COLORS`. Place: mirrored or not, and one of moved in x, moved in y, rotated, sheared in x and
    then in y, all about the center (the code shears about the corner). What is erased, or shown from beyond the first
    view, is 0, the mean pixel.

    Args:
        preprocess: that of the first view.
        flip: probability of the mirror image.
        translate: greatest way, a share of width or height.
        rotate: greatest angle, in degrees.
        shear: greatest angle, in degrees.
        patches: fewest and most patches that are erased.
        patch_size: least and greatest share of width and height that a patch takes.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        preprocess: Preprocess,
        *,
        flip: float = 0.5,
        translate: float = 0.1,
        rotate: float = 30.0,
        shear: float = 30.0,
        patches: Sequence[int] = (1, 5),
        patch_size: Sequence[float] = (0.0, 0.2),
    ) -> None:
        for name, value, limit in (("translate", translate, 1), ("rotate", rotate, 180.1), ("shear", shear, 90)):
            if not 0 <= value < limit:
                raise ConfigError(f"{name} must be in [0, {limit:.0f}), got {value}")
        if not 0 <= flip <= 1:
            raise ConfigError(f"flip must be in [0, 1], got {flip}")
        if len(patches) != 2 or not 0 <= patches[0] <= patches[1]:
            raise ConfigError(f"patches must be two numbers 0 <= fewest <= most, got {list(patches)}")
        if len(patch_size) != 2 or not 0 <= patch_size[0] <= patch_size[1] <= 1:
            raise ConfigError(f"patch_size must be two shares 0 <= least <= greatest <= 1, got {list(patch_size)}")
        self.preprocess, self.flip = preprocess, flip
        self.translate, self.rotate, self.shear = translate, rotate, shear
        self.patches, self.patch_size = tuple(patches), tuple(patch_size)

    def __call__(self, first: Tensor, generator: Generator) -> SecondView:
        """See :class:`alpl.data.pair.PairTransform`."""
        recolor = list(COLORS.values())[integer(generator, len(COLORS))]
        level = 1 + integer(generator, _LEVELS)
        warp = self._place(first.shape[2], first.shape[1], generator)
        still = torch.equal(warp, torch.eye(3, dtype=warp.dtype))
        if coin(generator):
            shown = self._recolored(first, recolor, level)
            shown = shown if still else warped(shown, warp)
        else:
            shown = self._recolored(first if still else warped(first, warp), recolor, level)
        return SecondView(self._erased(shown, generator), warp.float())

    def _recolored(self, shown: Tensor, recolor: Recolor, level: int) -> Tensor:
        pixels = self.preprocess.pixels(shown).round().clamp(0, 255).to(torch.uint8)
        return self.preprocess.normalized(recolor(pixels, level).float())

    def _place(self, width: int, height: int, generator: Generator) -> Tensor:
        """``Double[3 3]``."""
        sign = -1.0 if uniform(generator, 0, 1) < self.flip else 1.0
        mirrored = about_center(width, height, (sign, 1.0), (0.0, 0.0))
        kind, first, second = integer(generator, 4), uniform(generator, -1, 1), uniform(generator, -1, 1)
        if kind < 2:
            way = (first * self.translate * width, 0.0) if kind == 0 else (0.0, first * self.translate * height)
            return about_center(width, height, (1.0, 1.0), way) @ mirrored
        linear = rotation(first * self.rotate) if kind == 2 else sheared(first * self.shear, second * self.shear)
        return centered(linear, width, height) @ mirrored

    def _erased(self, shown: Tensor, generator: Generator) -> Tensor:
        fewest, most = self.patches
        height, width = shown.shape[1:]
        shown = shown.clone()
        for _ in range(fewest + integer(generator, most - fewest + 1)):
            share = uniform(generator, *self.patch_size)
            high, wide = int(share * height), int(share * width)
            top, left = integer(generator, height - high + 1), integer(generator, width - wide + 1)
            shown[:, top : top + high, left : left + wide] = 0.0
        return shown


def rotation(degrees: float) -> Tensor:
    """``Double[2 2]``: turn clockwise, as y points down.

    >>> rotation(90).round().abs().tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float64)


def sheared(across: float, down: float) -> Tensor:
    """``Double[2 2]``: shear in x by an angle in degrees, then in y by another.

    >>> sheared(45, 0).round().tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """
    in_x, in_y = math.tan(math.radians(across)), math.tan(math.radians(down))
    return torch.tensor([[1, in_x], [in_y, 1 + in_x * in_y]], dtype=torch.float64)


def centered(linear: Tensor, width: int, height: int) -> Tensor:
    """``Double[2 2]`` -> ``Double[3 3]``: the same change about the center of an image.

    >>> centered(2 * torch.eye(2, dtype=torch.float64), 10, 4).tolist()
    [[2.0, 0.0, -5.0], [0.0, 2.0, -2.0], [0.0, 0.0, 1.0]]
    """
    center = torch.tensor([width / 2, height / 2], dtype=torch.float64)
    warp = torch.eye(3, dtype=torch.float64)
    warp[:2, :2], warp[:2, 2] = linear, center - linear @ center
    return warp
