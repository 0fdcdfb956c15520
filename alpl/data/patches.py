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
    overlaps = MIN_OVERLAPS[crop]
    while True:
        mode = integer(generator, len(overlaps) + 1)
        if mode == len(overlaps):
            return None
        for _ in range(NUM_TRIES):
            sides = _sides(canvas, generator, crop)
            if sides is None:
                continue
            left = uniform(generator, 0, canvas.width - sides[0])
            top = uniform(generator, 0, canvas.height - sides[1])
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
        scale = uniform(generator, 0.1, 1)
        ratio = uniform(generator, max(0.5, scale**2), min(2, scale**-2))
        return canvas.width * scale * math.sqrt(ratio), canvas.height * scale / math.sqrt(ratio)
    sides = uniform(generator, 0.3, 1) * canvas.width, uniform(generator, 0.3, 1) * canvas.height
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
