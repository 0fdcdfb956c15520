"""Changes of color, as SSD's augmentation makes them (Liu et al. 2016). Axes: H and W pixels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from alpl.machine.seeding import coin, integer, uniform

_ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
_EPS = torch.finfo(torch.float32).eps


class Distortion(NamedTuple):
    """A change of color that was drawn. It treats each pixel by itself, so it may be made of a part of an image."""

    brightness: float
    contrast: float
    contrast_first: bool
    saturation: float
    hue: float
    order: tuple[int, int, int]
    """Of the channels."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """``Float[3 H W]``, 0 to 255 -> ``Float[3 H W]``, another tensor."""
        pixels = pixels + self.brightness
        if self.contrast_first:
            pixels = pixels * self.contrast
        if self.saturation != 1 or self.hue != 0:
            angle, share, value = rgb_to_hsv(pixels)
            pixels = hsv_to_rgb(torch.stack([(angle + self.hue) % 360, share * self.saturation, value]))
        if not self.contrast_first:
            pixels = pixels * self.contrast
        return pixels if self.order == _ORDERS[0] else pixels[list(self.order)]


def random_distortion(generator: Generator) -> Distortion:
    """Draw a change of brightness, contrast, saturation, hue and the order of channels, each with probability 1/2.

    Brightness by -32 to 32; contrast by 0.5 to 1.5, before or after (probability 1/2) saturation by 0.5 to 1.5 and hue
    by -18 to 18 degrees. Nothing is clipped.

    Args:
        generator: of the CPU; its draws decide everything.
    """
    brightness = uniform(generator, -32, 32) if coin(generator) else 0.0
    contrast_first = coin(generator)
    contrast = uniform(generator, 0.5, 1.5) if coin(generator) else 1.0
    saturation = uniform(generator, 0.5, 1.5) if coin(generator) else 1.0
    hue = uniform(generator, -18, 18) if coin(generator) else 0.0
    order = _ORDERS[integer(generator, 6)] if coin(generator) else _ORDERS[0]
    return Distortion(brightness, contrast, contrast_first, saturation, hue, order)


def distort(pixels: Tensor, generator: Generator) -> Tensor:
    """Draw a :func:`random_distortion` and make it.

    Args:
        pixels: ``Float[3 H W]``, 0 to 255.
        generator: of the CPU; its draws decide everything.

    Returns:
        ``Float[3 H W]``, another tensor.
    """
    return random_distortion(generator)(pixels)


def rgb_to_hsv(pixels: Tensor) -> Tensor:
    """``Float[3 H W]`` -> hue in [0, 360), saturation, and value in the pixels' unit (OpenCV's formula for floats).

    >>> rgb_to_hsv(torch.tensor([100.0, 200.0, 50.0]).view(3, 1, 1)).flatten()
    tensor([100.0000,   0.7500, 200.0000])
    """
    red, green, blue = pixels
    value, low = pixels.amax(0), pixels.amin(0)
    span = value - low
    sixth = 60 / (span + _EPS)
    on_red, on_green, on_blue = (green - blue) * sixth, (blue - red) * sixth + 120, (red - green) * sixth + 240
    hue = torch.where(value == red, on_red, torch.where(value == green, on_green, on_blue)) % 360
    return torch.stack([hue, span / (value.abs() + _EPS), value])


def hsv_to_rgb(values: Tensor) -> Tensor:
    """Turn :func:`rgb_to_hsv` around. ``Float[3 H W]`` -> ``Float[3 H W]``."""
    hue, saturation, value = values
    offsets = torch.tensor([5.0, 3.0, 1.0], dtype=values.dtype).view(3, 1, 1)
    sector = (offsets + hue / 60) % 6
    rgb: Tensor = value - value * saturation * torch.minimum(sector, 4 - sector).clamp(0, 1)
    return rgb
