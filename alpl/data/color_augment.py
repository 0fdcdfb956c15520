"""Colors and sharpness of whole batches, each image by draws of its own; see :mod:`alpl.data.augment`.

The pure functions equal torchvision's of the same name (``transforms.v2.functional``) image by image, on floats: bytes
are turned into floats first and back at the end, so that several changes are rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from alpl.errors import ConfigError

_GRAY = (0.2989, 0.587, 0.114)  # torchvision's weights of red, green and blue
_ORDERS = tuple(permutations(range(4)))


@final
class ColorJitter:
    """Change brightness, contrast, saturation and hue in an order drawn for each image: torchvision's ``ColorJitter``.

    Images of one channel keep saturation and hue, as torchvision has it.

    Args:
        brightness: the factor is uniform in [max(0, 1 - brightness), 1 + brightness].
        contrast: likewise.
        saturation: likewise.
        hue: the shift is uniform in [-hue, hue], a share of the circle.
        p: probability that an image is changed at all.

    Raises:
        ConfigError: a strength is negative, ``hue`` above 0.5, or ``p`` outside [0, 1].
    """

    def __init__(
        self, brightness: float = 0.4, contrast: float = 0.4, saturation: float = 0.4, hue: float = 0.1, p: float = 0.8
    ) -> None:
        for name, value in {"brightness": brightness, "contrast": contrast, "saturation": saturation}.items():
            if value < 0:
                raise ConfigError(f"{name} must be >= 0, got {value}")
        if not 0 <= hue <= 0.5:
            raise ConfigError(f"hue must lie in [0, 0.5], got {hue}")
        self.strengths = (brightness, contrast, saturation)
        self.hue = hue
        self.p = _probability(p)

    def __call__(self, images: Tensor) -> Tensor:
        """Change ``images`` (``[B C H W]``, C 1 or 3, bytes or floats in [0, 1]); shape and type stay."""
        number, device = len(images), images.device
        factors = torch.empty(4, number, device=device)
        for row, strength in zip(factors, self.strengths, strict=False):
            row.uniform_(max(0.0, 1 - strength), 1 + strength)
        factors[3].uniform_(-self.hue, self.hue)
        orders = torch.tensor(_ORDERS).to(device, non_blocking=True)
        order = orders[torch.randint(len(_ORDERS), (number,), device=device)]
        return color_jitter(images, factors, order, torch.rand(number, device=device) < self.p)


@final
class RandomGrayscale:
    """Take the colors away, the number of channels stays: torchvision's ``RandomGrayscale``.

    Args:
        p: probability, the same for each image.

    Raises:
        ConfigError: ``p`` lies outside [0, 1].
    """

    def __init__(self, p: float = 0.2) -> None:
        self.p = _probability(p)

    def __call__(self, images: Tensor) -> Tensor:
        """Change ``images`` (``[B C H W]``, C 1 or 3); shape and type stay."""
        chosen = torch.rand(len(images), device=images.device) < self.p
        values = _as_floats(images)
        return _as(torch.where(chosen.view(-1, 1, 1, 1), grayscale(values), values), images)


@final
class GaussianBlur:
    """Blur with a width drawn for each image: torchvision's ``GaussianBlur`` with probability ``p``.

    Args:
        kernel_size: pixels of the kernel's side, odd; the published choice is near a tenth of the image's side.
        sigma: smallest and largest standard deviation in pixels; uniform.
        p: probability that an image is blurred.

    Raises:
        ConfigError: ``kernel_size`` is even or below 1, ``sigma`` not 0 < low <= high, or ``p`` outside [0, 1].
    """

    def __init__(self, kernel_size: int, sigma: Sequence[float] = (0.1, 2.0), p: float = 0.5) -> None:
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size must be an odd int >= 1, got {kernel_size}")
        if len(sigma) != 2 or not 0 < sigma[0] <= sigma[1]:
            raise ConfigError(f"sigma must be two numbers 0 < low <= high, got {list(sigma)}")
        self.kernel_size = kernel_size
        self.sigma = (float(sigma[0]), float(sigma[1]))
        self.p = _probability(p)

    def __call__(self, images: Tensor) -> Tensor:
        """Blur ``images`` (``[B C H W]``, H and W above ``kernel_size // 2``); shape and type stay."""
        sigma = torch.empty(len(images), device=images.device).uniform_(*self.sigma)
        chosen = torch.rand(len(images), device=images.device) < self.p
        values = _as_floats(images)
        return _as(
            torch.where(chosen.view(-1, 1, 1, 1), gaussian_blur(values, sigma, self.kernel_size), values), images
        )


def color_jitter(images: Tensor, factors: Tensor, order: Tensor, chosen: Tensor) -> Tensor:
    """Change the chosen images.

    Args:
        images: ``[B C H W]``, C 1 or 3, bytes or floats in [0, 1].
        factors: ``Float[4 B]`` of brightness, contrast, saturation, and the shift of the hue.
        order: ``Long[B 4]``: which of these four comes first, second, ... for each image.
        chosen: ``Bool[B]``.
    """
    values = _as_floats(images)
    # on a GPU, which starts kernels as fast for all images as for some, nothing waits to hear which images they are
    jitter = _of_its_own if values.device.type == "cpu" else _of_all
    return _as(jitter(values, factors, order, chosen), images)


def _of_its_own(values: Tensor, factors: Tensor, order: Tensor, chosen: Tensor) -> Tensor:
    """Make each change of the images alone whose turn it is."""
    after = values.clone()
    for place in range(4):
        for number, change in enumerate(_changes(values)):
            rows = (chosen & (order[:, place] == number)).nonzero().squeeze(1)
            if len(rows):
                after[rows] = change(after[rows], factors[number, rows])
    return after


def _of_all(values: Tensor, factors: Tensor, order: Tensor, chosen: Tensor) -> Tensor:
    """Make each change of all images, and keep it where it is the one whose turn it is."""
    for place in range(4):
        after = values
        for number, change in enumerate(_changes(values)):
            is_turn = (chosen & (order[:, place] == number)).view(-1, 1, 1, 1)
            after = torch.where(is_turn, change(values, factors[number]), after)
        values = after
    return values


def _changes(values: Tensor) -> tuple[Callable[[Tensor, Tensor], Tensor], ...]:
    return (brightness, contrast, saturation, hue)[: 4 if values.shape[1] == 3 else 2]


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply ``Float[B C H W]`` by ``Float[B]``."""
    return (images * factor.view(-1, 1, 1, 1)).clamp(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Mix ``Float[B C H W]`` with the mean of its gray image: ``Float[B]`` times itself, the rest the mean."""
    mean = _gray(images).mean((1, 2, 3), keepdim=True)
    return _mixed(images, mean, factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Mix ``Float[B C H W]`` with its gray image: ``Float[B]`` times itself, the rest gray."""
    return _mixed(images, _gray(images), factor)


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue of ``Float[B 3 H W]`` by ``Float[B]``, shares of the circle."""
    high, low = images.amax(1), images.amin(1)
    spread = high - low
    is_gray = spread == 0
    red, green, blue = images.unbind(1)
    divisor = torch.where(is_gray, torch.ones_like(spread), spread)
    sector = torch.where(
        high == red,
        (green - blue) / divisor,
        torch.where(high == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    turned = (torch.where(is_gray, torch.zeros_like(sector), sector) / 6 + shift.view(-1, 1, 1)) % 1.0
    # a channel falls from the highest value to the lowest with its distance on the circle from its own hue
    sixths = torch.tensor([5.0, 3.0, 1.0], device=images.device).view(1, 3, 1, 1)
    place = (sixths + turned[:, None] * 6) % 6
    return high[:, None] - spread[:, None] * torch.minimum(place, 4 - place).clamp(0, 1)


def grayscale(images: Tensor) -> Tensor:
    """``Float[B C H W]`` without its colors; C stays."""
    return _gray(images).expand_as(images)


def gaussian_blur(images: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Blur ``Float[B C H W]`` with a kernel of standard deviation ``Float[B]``; borders are mirrored."""
    half = kernel_size // 2
    offset = torch.arange(-half, half + 1, device=images.device, dtype=images.dtype)
    weight = torch.exp(-0.5 * (offset / sigma.view(-1, 1).to(images.dtype)) ** 2)
    weight = weight / weight.sum(1, keepdim=True)  # [B kernel_size]
    number, channels, height, width = images.shape
    padded = F.pad(images, [half] * 4, mode="reflect").transpose(0, 1)  # [C B H' W']: an image is a group
    down = F.conv2d(padded, weight.view(number, 1, kernel_size, 1), groups=number)
    across = F.conv2d(down, weight.view(number, 1, 1, kernel_size), groups=number)
    return across.transpose(0, 1).reshape(number, channels, height, width)


def _gray(images: Tensor) -> Tensor:
    """``Float[B 1 H W]``."""
    if images.shape[1] == 1:
        return images
    weights = torch.tensor(_GRAY, device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)


def _mixed(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    share = factor.view(-1, 1, 1, 1)
    return (share * images + (1 - share) * other).clamp(0, 1)


def _as_floats(images: Tensor) -> Tensor:
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images must be [B C H W] with one or three channels, got {list(images.shape)}")
    return images if images.is_floating_point() else images.float() / 255


def _as(values: Tensor, images: Tensor) -> Tensor:
    """Give values in [0, 1] in the type of the images that they come from."""
    return values if images.is_floating_point() else (values * 255).round_().clamp_(0, 255).to(images.dtype)


def _probability(p: float) -> float:
    if not 0 <= p <= 1:
        raise ConfigError(f"p must lie in [0, 1], got {p}")
    return p
