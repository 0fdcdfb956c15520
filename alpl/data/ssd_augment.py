"""SSD's data augmentation and pre-processing (Liu et al. 2016, sec. 2.2 and 3.6), one image at a time.

Axes: H and W pixels, n objects, S the side of the network's input. All draws come from the generator that is passed
in, so an image and a seed give the same result in every process. Nothing here needs objects: an image without any,
such as an unlabeled one, is distorted, expanded, cropped and mirrored by the same rules less those on objects.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias, final

import torch
from torch import Generator, Tensor
from torchvision.ops import box_iou

from alpl.data.objects import Objects
from alpl.errors import ConfigError
from alpl.networks.ssd import PIXEL_MEAN

CropRule: TypeAlias = Literal["as_written", "as_released"]

MIN_OVERLAPS: dict[str, tuple[float, ...]] = {
    "as_written": (0.1, 0.3, 0.5, 0.7, 0.9, 0.0),
    "as_released": (0.0, 0.0, 0.0, 0.0, 0.0),  # 0.1, 0.3, 0.7, 0.9, none: its test of them can never fail
}
"""The minimum IoU of each crop mode. The whole image is one mode more, and all modes are equally likely."""

NUM_TRIES = 50  # patches before another mode is drawn
MAX_RATIO = 4.0  # of an expanded image to its original
_ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
_EPS = torch.finfo(torch.float32).eps


class Patch(NamedTuple):
    """A part of an image in whole pixels; it may reach beyond the image."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """In pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """In pixels."""
        return self.bottom - self.top


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

    def show(self, pixels: Tensor, patch: Patch) -> Tensor:
        """Give a part of an image (``Float[3 H W]``) as ``Float[3 S S]``; what lies beyond the image is the mean."""
        return resample(pixels, patch, self.mean, self.size) - self.mean


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
        pixels = distort(image.float(), generator)
        canvas = random_canvas(pixels.shape[1], pixels.shape[2], generator, self.max_ratio)
        patch = random_patch(canvas, objects.boxes, generator, self.crop)
        objects = move(objects, canvas) if patch is None else keep_inside(objects, patch)
        patch = patch or canvas
        # the canvas is never filled: only the pixels that are shown are computed
        shown = self.preprocess.show(pixels, patch)
        scale = torch.tensor([self.preprocess.size / patch.width, self.preprocess.size / patch.height]).repeat(2)
        objects = Objects(objects.boxes * scale, objects.labels, objects.difficult)
        return mirror(shown, objects) if _coin(generator) else (shown, objects)


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


def distort(pixels: Tensor, generator: Generator) -> Tensor:
    """Change brightness, contrast, saturation, hue and the order of channels, each with probability 1/2.

    Brightness by -32 to 32; contrast by 0.5 to 1.5, before or after (probability 1/2) saturation by 0.5 to 1.5 and hue
    by -18 to 18 degrees. Nothing is clipped.

    Args:
        pixels: ``Float[3 H W]``, 0 to 255.
        generator: see :class:`SsdAugmentation`.

    Returns:
        ``Float[3 H W]``, another tensor.
    """
    pixels = pixels + (_uniform(generator, -32, 32) if _coin(generator) else 0.0)
    contrast_first = _coin(generator)
    contrast = _uniform(generator, 0.5, 1.5) if _coin(generator) else 1.0
    saturation = _uniform(generator, 0.5, 1.5) if _coin(generator) else 1.0
    hue = _uniform(generator, -18, 18) if _coin(generator) else 0.0
    if contrast_first:
        pixels = pixels * contrast
    if saturation != 1 or hue != 0:
        angle, share, value = rgb_to_hsv(pixels)
        pixels = hsv_to_rgb(torch.stack([(angle + hue) % 360, share * saturation, value]))
    if not contrast_first:
        pixels = pixels * contrast
    return pixels[list(_ORDERS[_integer(generator, 6)])] if _coin(generator) else pixels


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


def random_canvas(height: int, width: int, generator: Generator, max_ratio: float = MAX_RATIO) -> Patch:
    """Draw a canvas on which the image lies at random ("zoom out"), with probability 1/2.

    Its sides are 1 to ``max_ratio`` times those of the image.

    Returns:
        The canvas in the coordinates of the image: it begins at or before 0 and ends at or behind the image.
    """
    if not _coin(generator):
        return Patch(0, 0, width, height)
    ratio = _uniform(generator, 1, max_ratio)
    wide, high = int(width * ratio), int(height * ratio)
    left, top = int(_uniform(generator, 0, wide - width + 1)), int(_uniform(generator, 0, high - height + 1))
    return Patch(-left, -top, wide - left, high - top)


def random_patch(canvas: Patch, boxes: Tensor, generator: Generator, crop: CropRule) -> Patch | None:
    r"""Draw the part of the canvas that is shown, or None for the whole of it.

    A mode is drawn, the whole canvas or one of :data:`MIN_OVERLAPS`; then up to 50 patches, of which the first counts
    that fits; then the next mode. A patch fits where the center of at least one object lies in it and, in the mode of a
    minimum overlap, its IoU with at least one object reaches it. Without objects every patch fits.

    - "as_written" (Liu et al. 2016, sec. 2.2, and their Caffe sampler where the paper is silent): a patch has
      size s of 0.1 to 1 and a ratio a of 1/2 to 2, both in units of the canvas: width :math:`s \sqrt a`, height
      :math:`s / \sqrt a`, neither above 1.
    - "as_released": each side has 0.3 to 1 of the canvas', their ratio in pixels is 1/2 to 2, no overlap is enforced.

    Args:
        canvas: the image, or what it was expanded to.
        boxes: ``Float[n 4]`` xyxy, in the same pixels.
        generator: see :class:`SsdAugmentation`.
        crop: the rule.
    """
    overlaps = MIN_OVERLAPS[crop]
    while True:
        mode = _integer(generator, len(overlaps) + 1)
        if mode == len(overlaps):
            return None
        for _ in range(NUM_TRIES):
            sides = _sides(canvas, generator, crop)
            if sides is None:
                continue
            left = _uniform(generator, 0, canvas.width - sides[0])
            top = _uniform(generator, 0, canvas.height - sides[1])
            patch = Patch(
                canvas.left + int(left),
                canvas.top + int(top),
                canvas.left + int(left + sides[0]),
                canvas.top + int(top + sides[1]),
            )
            if _fits(patch, boxes, overlaps[mode]):
                return patch


def _sides(canvas: Patch, generator: Generator, crop: CropRule) -> tuple[float, float] | None:
    """Draw width and height of a patch; None where the draw does not count."""
    if crop == "as_written":
        scale = _uniform(generator, 0.1, 1)
        ratio = _uniform(generator, max(0.5, scale**2), min(2, scale**-2))
        return canvas.width * scale * math.sqrt(ratio), canvas.height * scale / math.sqrt(ratio)
    sides = _uniform(generator, 0.3, 1) * canvas.width, _uniform(generator, 0.3, 1) * canvas.height
    return sides if 0.5 <= sides[1] / sides[0] <= 2 else None


def _fits(patch: Patch, boxes: Tensor, min_overlap: float) -> bool:
    if patch.width < 1 or patch.height < 1:
        return False
    if not len(boxes):
        return True
    if not bool(centers_inside(boxes, patch).any()):
        return False
    return min_overlap == 0 or float(box_iou(boxes, torch.tensor([patch], dtype=boxes.dtype)).max()) >= min_overlap


def centers_inside(boxes: Tensor, patch: Patch) -> Tensor:
    """``Float[n 4]`` xyxy -> ``Bool[n]``: whose center lies in the patch, not on its border."""
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    corners = torch.tensor(patch, dtype=boxes.dtype)
    return ((corners[:2] < centers) & (centers < corners[2:])).all(1)


def keep_inside(objects: Objects, patch: Patch) -> Objects:
    """Give the objects whose center lies in the patch, cut off at its border, in its coordinates."""
    inside = objects[centers_inside(objects.boxes, patch)]
    corners = torch.tensor(patch, dtype=inside.boxes.dtype)
    boxes = inside.boxes.view(-1, 2, 2).clamp(corners[:2], corners[2:]).view(-1, 4)
    return move(Objects(boxes, inside.labels, inside.difficult), patch)


def move(objects: Objects, patch: Patch) -> Objects:
    """Give the objects in the coordinates of a patch."""
    boxes = objects.boxes - torch.tensor([patch.left, patch.top] * 2, dtype=objects.boxes.dtype)
    return Objects(boxes, objects.labels, objects.difficult)


def resample(pixels: Tensor, patch: Patch, fill: Tensor, size: int) -> Tensor:
    """Resize a part of an image to a square: bilinear, pixel centers at 1/2, no antialias, as cv2 and SSD do.

    Args:
        pixels: ``Float[3 H W]``.
        patch: the part; it has a width and a height.
        fill: ``Float[3 1 1]``, the pixel of all that lies beyond the image.
        size: S.

    Returns:
        ``Float[3 S S]``.
    """
    rows = _resample_axis(pixels, 1, patch.top, patch.height, fill, size)
    return _resample_axis(rows, 2, patch.left, patch.width, fill, size)


def _resample_axis(pixels: Tensor, axis: int, start: int, length: int, fill: Tensor, size: int) -> Tensor:
    places = ((torch.arange(size, dtype=torch.float64) + 0.5) * (length / size) - 0.5).clamp_(0, length - 1)
    before = places.long()
    after = (before + 1).clamp_(max=length - 1)
    shape = [-1 if dimension == axis else 1 for dimension in range(3)]
    low, high = (_take(pixels, axis, index + start, fill, shape) for index in (before, after))
    return torch.lerp(low, high, (places - before).to(pixels).view(shape))


def _take(pixels: Tensor, axis: int, index: Tensor, fill: Tensor, shape: list[int]) -> Tensor:
    """Give rows or columns, ``fill`` where there is none."""
    last = pixels.shape[axis] - 1
    taken = pixels.index_select(axis, index.clamp(0, last))
    inside = (index >= 0) & (index <= last)
    return taken if bool(inside.all()) else torch.where(inside.view(shape), taken, fill)


def mirror(pixels: Tensor, objects: Objects) -> tuple[Tensor, Objects]:
    """Exchange left and right of an image (``[3 H W]``) and of its boxes."""
    x1, y1, x2, y2 = objects.boxes.unbind(1)
    width = pixels.shape[2]
    boxes = torch.stack([width - x2, y1, width - x1, y2], 1)
    return pixels.flip(2), Objects(boxes, objects.labels, objects.difficult)


def _uniform(generator: Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def _integer(generator: Generator, number: int) -> int:
    return int(torch.randint(number, (), generator=generator))


def _coin(generator: Generator) -> bool:
    return _integer(generator, 2) == 1
