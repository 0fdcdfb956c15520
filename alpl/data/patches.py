"""Parts of images: drawn, cut out with the objects in them, resized (Liu et al. 2016, sec. 2.2).

Axes: H and W pixels, n objects, S the side of the network's input.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Generator, Tensor
from torchvision.ops import box_iou

from alpl.boxes.objects import Objects
from alpl.machine.seeding import coin, integer, uniform

CropRule: TypeAlias = Literal["as_written", "as_released"]

MIN_OVERLAPS: dict[str, tuple[float, ...]] = {
    "as_written": (0.1, 0.3, 0.5, 0.7, 0.9, 0.0),
    "as_released": (0.0, 0.0, 0.0, 0.0, 0.0),  # 0.1, 0.3, 0.7, 0.9, none: its test of them can never fail
}
"""The minimum IoU of each crop mode. The whole image is one mode more, and all modes are equally likely."""

NUM_TRIES = 50  # patches before another mode is drawn
_CLOSE = 1e-5  # IoU in float32 is within it of that in Python's numbers
MAX_RATIO = 4.0  # of an expanded image to its original


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


def random_canvas(height: int, width: int, generator: Generator, max_ratio: float = MAX_RATIO) -> Patch:
    """Draw a canvas on which the image lies at random ("zoom out"), with probability 1/2.

    Its sides are 1 to ``max_ratio`` times those of the image.

    Returns:
        The canvas in the coordinates of the image: it begins at or before 0 and ends at or behind the image.
    """
    if not coin(generator):
        return Patch(0, 0, width, height)
    ratio = uniform(generator, 1, max_ratio)
    wide, high = int(width * ratio), int(height * ratio)
    left, top = int(uniform(generator, 0, wide - width + 1)), int(uniform(generator, 0, high - height + 1))
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
        generator: of the CPU; its draws decide everything.
        crop: the rule.
    """
    overlaps, scene = MIN_OVERLAPS[crop], _Scene(boxes)
    while True:
        mode = integer(generator, len(overlaps) + 1)
        if mode == len(overlaps):
            return None
        for _ in range(NUM_TRIES):
            patch = _draw(canvas, generator, crop)
            if patch is not None and scene.fits(patch, overlaps[mode]):
                return patch


def _draw(canvas: Patch, generator: Generator, crop: CropRule) -> Patch | None:
    """Draw a patch; None where the draw does not count."""
    first, second = _shares(generator)
    if crop == "as_written":
        scale = 0.1 + (1 - 0.1) * first
        low, high = max(0.5, scale**2), min(2, scale**-2)
        root = math.sqrt(low + (high - low) * second)
        wide, high = canvas.width * scale * root, canvas.height * scale / root
    else:
        wide, high = (0.3 + (1 - 0.3) * first) * canvas.width, (0.3 + (1 - 0.3) * second) * canvas.height
        if not 0.5 <= high / wide <= 2:
            return None
    first, second = _shares(generator)
    left, top = (canvas.width - wide) * first, (canvas.height - high) * second
    x, y = canvas.left, canvas.top
    return Patch(x + int(left), y + int(top), x + int(left + wide), y + int(top + high))


def _shares(generator: Generator) -> list[float]:
    """Draw two numbers from [0, 1): the same as one by one, in half the time."""
    shares: list[float] = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
    return shares


class _Scene:
    """The objects of an image, as Python's numbers: of hundreds of patches that are tried, each is compared with few.

    Args:
        boxes: ``Float[n 4]`` xyxy.
    """

    def __init__(self, boxes: Tensor) -> None:
        self._boxes = boxes
        self._corners: list[list[float]] = boxes.tolist()
        self._centers: list[list[float]] = ((boxes[:, :2] + boxes[:, 2:]) / 2).tolist()  # rounded as centers_inside

    def fits(self, patch: Patch, min_overlap: float) -> bool:
        """Whether a patch has pixels, the center of an object, and the overlap with one."""
        left, top, right, bottom = patch
        if right - left < 1 or bottom - top < 1:
            return False
        if not self._corners:
            return True
        if not any(left < x < right and top < y < bottom for x, y in self._centers):
            return False
        return min_overlap == 0 or self._overlaps(patch, min_overlap)

    def _overlaps(self, patch: Patch, least: float) -> bool:
        """Whether the IoU of the patch with an object is at least so large, as the boxes' own type rounds it."""
        largest = max(_iou(patch, corners) for corners in self._corners)
        if abs(largest - least) > _CLOSE:
            return largest > least
        return float(box_iou(self._boxes, torch.tensor([patch], dtype=self._boxes.dtype)).max()) >= least


def _iou(patch: Patch, corners: list[float]) -> float:
    left, top, right, bottom = corners
    wide = max(min(patch.right, right) - max(patch.left, left), 0.0)
    high = max(min(patch.bottom, bottom) - max(patch.top, top), 0.0)
    both = wide * high
    return both / (patch.width * patch.height + (right - left) * (bottom - top) - both)


def centers_inside(boxes: Tensor, patch: Patch) -> Tensor:
    """``Float[n 4]`` xyxy -> ``Bool[n]``: whose center lies in the patch, not on its border."""
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    corners = torch.tensor(patch, dtype=boxes.dtype)
    return ((corners[:2] < centers) & (centers < corners[2:])).all(1)


def keep_inside(objects: Objects, patch: Patch) -> Objects:
    """Give the objects whose center lies in the patch, cut off at its border, in its coordinates."""
    return _cut(objects[centers_inside(objects.boxes, patch)], patch)


def cut_off(objects: Objects, patch: Patch) -> Objects:
    """Give what the patch shows of objects, wherever their centers lie, in its coordinates; none that it does not."""
    cut = _cut(objects, patch)
    return cut[(cut.boxes[:, 2:] > cut.boxes[:, :2]).all(1)]


def _cut(objects: Objects, patch: Patch) -> Objects:
    corners = torch.tensor(patch, dtype=objects.boxes.dtype)
    boxes = objects.boxes.view(-1, 2, 2).clamp(corners[:2], corners[2:]).view(-1, 4)
    return move(Objects(boxes, objects.labels, objects.difficult), patch)


def move(objects: Objects, patch: Patch) -> Objects:
    """Give the objects in the coordinates of a patch."""
    boxes = objects.boxes - torch.tensor([patch.left, patch.top] * 2, dtype=objects.boxes.dtype)
    return Objects(boxes, objects.labels, objects.difficult)


def cut(pixels: Tensor, patch: Patch) -> tuple[Tensor, Patch]:
    """Give the part of an image that a patch shows, a view, and the patch in its coordinates.

    :func:`resample` gives the same of both. A pixel at least is left where the patch lies beyond the image.

    Args:
        pixels: ``[3 H W]``.
        patch: the part.
    """
    _, height, width = pixels.shape
    left, top = min(max(patch.left, 0), width - 1), min(max(patch.top, 0), height - 1)
    right, bottom = max(min(patch.right, width), left + 1), max(min(patch.bottom, height), top + 1)
    moved = Patch(patch.left - left, patch.top - top, patch.right - left, patch.bottom - top)
    return pixels[:, top:bottom, left:right], moved


def resample(pixels: Tensor, patch: Patch, fill: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Resize a part of an image: bilinear, pixel centers at 1/2, no antialias, as cv2 and SSD do.

    Args:
        pixels: ``Float[3 H W]``.
        patch: the part; it has a width and a height.
        fill: ``Float[3 1 1]``, the pixel of all that lies beyond the image.
        size: S, or height and width of the result.

    Returns:
        ``Float[3 S S]``, or as said.
    """
    high, wide = (size, size) if isinstance(size, int) else size
    rows = _resample_axis(pixels, 1, patch.top, patch.height, fill, high)
    return _resample_axis(rows, 2, patch.left, patch.width, fill, wide)


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
