"""Images as squares of one size with values in [-1, 1], for models that look at pixels and know no task.

Axes: B images, C channels, H and W pixels, S the side of the square.
"""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from alpl.boxes.objects import Objects
from alpl.errors import ConfigError


@final
class Squares:
    """Resize to a square (bilinear, antialias; the aspect ratio is not kept), and scale bytes to [-1, 1].

    Args:
        size: S.

    Raises:
        ConfigError: it is below 1.
    """

    def __init__(self, size: int) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ConfigError(f"size must be an int >= 1, got {size!r}")
        self.size = size

    def __call__(self, images: Tensor) -> Tensor:
        """``[B C H W]`` or ``[C H W]``, 0 to 255 -> ``Float[B C S S]`` or ``Float[C S S]``."""
        batch = images.float() if images.ndim == 4 else images[None].float()
        if batch.shape[-2:] != (self.size, self.size):
            batch = F.interpolate(batch, size=(self.size, self.size), mode="bilinear", antialias=True)
        scaled = batch / 127.5 - 1
        return scaled if images.ndim == 4 else scaled[0]


@final
class MirroredSquares:
    """A scene as :class:`Squares`, mirrored at random; its objects are left out.

    Args:
        squares: how it is shown.
        flip: probability of the mirror image.
    """

    def __init__(self, squares: Squares, flip: float) -> None:
        self.squares, self.flip = squares, flip

    def __call__(self, image: Tensor, objects: Objects, generator: Generator) -> tuple[Tensor, Objects]:
        """``UInt8[3 H W]`` -> ``Float[3 S S]``, without objects."""
        shown = self.squares(image)
        if float(torch.rand((), generator=generator)) < self.flip:
            shown = shown.flip(-1)
        return shown, Objects.none()
