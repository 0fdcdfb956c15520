"""A second view of a training image, whose way from the first view is known.

Axes: h and w pixels of both views.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, final

import torch
from torch import Generator, Tensor

from alpl.data.photometric import distort
from alpl.errors import ConfigError
from alpl.machine.seeding import uniform


class SecondView(NamedTuple):
    """A second view of an image.

    Args:
        image: ``Float[3 h w]``, the network's input.
        warp: ``Float[3 3]``: a point of the first view, in pixels, -> the same point of the second; see
            :mod:`alpl.boxes.warped`.
    """

    image: Tensor
    warp: Tensor


class PairTransform(Protocol):
    """First view -> second view; it is told no objects, so that those of an unlabeled image cannot reach it."""

    def __call__(self, first: Tensor, generator: Generator) -> SecondView:
        """``Float[3 h w]``, the network's input -> another view of the same size; the generator decides everything."""
        ...


class Preprocess(Protocol):
    """What a detector does to pixels, and the way back."""

    def pixels(self, shown: Tensor) -> Tensor:
        """Give pixels of 0 to 255 of the network's input (``Float[3 h w]``)."""
        ...

    def normalized(self, pixels: Tensor) -> Tensor:
        """Turn :meth:`pixels` around."""
        ...


@final
class StrongView:
    """Other colors, then mirrored, scaled and translated, each by its own draw (in SoftTeacher's ranges).

    What the second view shows from beyond the first is 0, the mean pixel.

    Args:
        preprocess: that of the first view.
        flip: probability of the mirror image.
        translate: greatest way in x and in y, a share of width and height.
        scale: least and greatest factor of the size, about the center.
        photometric: whether colors are changed, see :func:`alpl.data.photometric.distort`.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        preprocess: Preprocess,
        *,
        flip: float = 0.5,
        translate: float = 0.1,
        scale: Sequence[float] = (0.9, 1.1),
        photometric: bool = True,
    ) -> None:
        if not 0 <= flip <= 1:
            raise ConfigError(f"flip must be in [0, 1], got {flip}")
        if not 0 <= translate < 1:
            raise ConfigError(f"translate must be in [0, 1), got {translate}")
        if len(scale) != 2 or not 0 < scale[0] <= scale[1]:
            raise ConfigError(f"scale must be two numbers 0 < low <= high, got {list(scale)}")
        self.preprocess = preprocess
        self.flip, self.translate, self.scale, self.photometric = flip, translate, tuple(scale), photometric

    def __call__(self, first: Tensor, generator: Generator) -> SecondView:
        """See :class:`PairTransform`."""
        height, width = first.shape[1:]
        factor = uniform(generator, self.scale[0], self.scale[1])
        right, down = (uniform(generator, -self.translate, self.translate) * side for side in (width, height))
        sign = -1.0 if uniform(generator, 0, 1) < self.flip else 1.0
        warp = about_center(width, height, (sign * factor, factor), (right, down))
        if self.photometric:
            first = self.preprocess.normalized(distort(self.preprocess.pixels(first), generator))
        return SecondView(warped(first, warp), warp.float())


def about_center(width: int, height: int, factors: tuple[float, float], way: tuple[float, float]) -> Tensor:
    """Scale about the center by ``factors`` (negative: mirror), then move by ``way``, in x and y: ``Double[3 3]``.

    >>> about_center(10, 10, (-1.0, 1.0), (0.0, 2.0)).tolist()
    [[-1.0, 0.0, 10.0], [0.0, 1.0, 2.0], [0.0, 0.0, 1.0]]
    """
    (across, up), (right, down) = factors, way
    rows = [[across, 0, width / 2 * (1 - across) + right], [0, up, height / 2 * (1 - up) + down], [0, 0, 1]]
    return torch.tensor(rows, dtype=torch.float64)


def warped(image: Tensor, warp: Tensor) -> Tensor:
    """Show an image after a change: bilinear, pixel centers at 1/2, 0 where there is none.

    Args:
        image: ``Float[3 h w]``.
        warp: ``Double[3 3]`` affine, invertible.

    Returns:
        ``Float[3 h w]``.
    """
    height, width = image.shape[1:]
    # torch counts both axes from -1 to 1, and asks where each pixel of the result comes from
    unit = torch.tensor([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]], dtype=warp.dtype)
    theta = (unit @ warp.inverse() @ unit.inverse())[:2].to(image)
    grid = torch.nn.functional.affine_grid(theta[None], [1, *image.shape], align_corners=False)
    shown: Tensor = torch.nn.functional.grid_sample(image[None], grid, align_corners=False)[0]
    return shown
