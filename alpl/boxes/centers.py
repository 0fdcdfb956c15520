"""Boxes as points (Zhou et al. 2019, "Objects as points"): targets of training, peaks and boxes of detection.

Axes: B images, K classes, h and w cells of a map, n objects of all images, D detections. A cell is numbered row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from alpl.boxes.objects import Objects

TargetRule: TypeAlias = Literal["as_written", "as_released"]
TARGET_RULES = ("as_written", "as_released")

OVERLAP = 0.7
"""IoU with the object that a box has at least whose corners are displaced by the radius (their released code)."""


class CenterTargets(NamedTuple):
    """What the heads are trained on."""

    heat: Tensor
    """``Float[B K h w]`` in [0, 1], 1 at centers."""
    row: Tensor
    """``Long[n]``, of which of the B images an object is; those without extent are left out."""
    labels: Tensor
    """``Long[n]``."""
    cells: Tensor
    """``Long[n]`` the cell that the center lies in."""
    sizes: Tensor
    """``Float[n 2]`` width and height, in cells."""
    offsets: Tensor
    """``Float[n 2]`` x and y of the center from the cell's upper left corner, in cells."""
    boxes: Tensor
    """``Float[n 4]`` xyxy, pixels of the input."""


def center_targets(
    objects: Sequence[Objects], num_classes: int, shape: tuple[int, int], stride: int, rule: TargetRule
) -> CenterTargets:
    r"""Draw each object as a Gaussian around its center cell, the larger of two where they meet in a class.

    .. math:: \exp\left(-\frac{(x - x_c)^2 + (y - y_c)^2}{2 \sigma^2}\right), \qquad \sigma = (2 r + 1) / 6

    in the :math:`2 r + 1` cells around it each way (their sec. 3). Two objects of a class in one cell make one
    peak, and both of their sizes are aimed at.

    Args:
        objects: B, boxes in pixels of the input.
        num_classes: K.
        shape: h and w.
        stride: pixels from cell to cell.
        rule: "as_written": boxes as they are, radius by the geometry. "as_released": boxes cut off a cell before the
            right and lower border, radius by their formula; see :func:`gaussian_radius`.
    """
    high, wide = shape
    counts = torch.tensor([len(each) for each in objects])
    labels, inputs = torch.cat([each.labels for each in objects]), torch.cat([each.boxes for each in objects])
    row = torch.arange(len(objects)).repeat_interleave(counts).to(labels.device)
    less = 1 if rule == "as_released" else 0
    limit = inputs.new_tensor([wide - less, high - less] * 2)
    boxes = torch.minimum((inputs / stride).clamp(min=0), limit)
    sizes = boxes[:, 2:] - boxes[:, :2]
    there = (sizes > 0).all(1)
    row, labels, inputs, boxes, sizes = (part[there] for part in (row, labels, inputs, boxes, sizes))
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    corner = torch.minimum(centers.floor(), centers.new_tensor([wide - 1, high - 1]))
    heat = _drawn(
        row * num_classes + labels, corner, gaussian_radius(sizes.ceil(), rule), shape, len(objects), num_classes
    )
    cells = (corner[:, 1] * wide + corner[:, 0]).long()
    return CenterTargets(heat, row, labels, cells, sizes, centers - corner, inputs)


def _drawn(
    plane: Tensor, corner: Tensor, radius: Tensor, shape: tuple[int, int], num_images: int, num_classes: int
) -> Tensor:
    """Give ``Float[B K h w]``, of planes ``Long[n]`` of B K, cells ``Float[n 2]`` and radii ``Float[n]``."""
    sides = []
    for axis, length in ((1, shape[0]), (0, shape[1])):
        away = torch.arange(length, device=corner.device) - corner[:, axis, None]
        of_axis = (-(away**2) / (2 * ((2 * radius[:, None] + 1) / 6) ** 2)).exp()
        sides.append(of_axis.where(away.abs() <= radius[:, None], 0.0))
    drawn = (sides[0][:, :, None] * sides[1][:, None]).flatten(1)
    heat = corner.new_zeros(num_images * num_classes, shape[0] * shape[1])
    heat.scatter_reduce_(0, plane[:, None].expand_as(drawn), drawn, "amax")
    return heat.view(num_images, num_classes, *shape)


def gaussian_radius(sizes: Tensor, rule: TargetRule, overlap: float = OVERLAP) -> Tensor:
    r"""Give how far both corners of a box may be displaced, whole cells, so that its IoU with itself is still enough.

    There are three worst cases: one corner inwards and one outwards, both inwards, both outwards. "as_written" is the
    least of their three solutions. "as_released" (and CornerNet's code before it) takes the other root of the first
    two, and divides all by 2 instead of :math:`2 a`; the third decides then, and is larger.

    Args:
        sizes: ``Float[n 2]`` width and height in cells, > 0.
        rule: see above.
        overlap: IoU, in (0, 1).

    Returns:
        ``Float[n]``, whole numbers.

    >>> sizes = torch.tensor([[10.0, 10.0], [20.0, 5.0], [3.0, 3.0], [40.0, 30.0]])
    >>> gaussian_radius(sizes, "as_released").tolist(), gaussian_radius(sizes, "as_written").tolist()
    ([2.0, 2.0, 0.0, 9.0], [0.0, 0.0, 0.0, 2.0])
    """
    around, area = sizes.double().sum(1), sizes.double().prod(1)
    mixed = (around**2 - 4 * area * (1 - overlap) / (1 + overlap)).sqrt()
    inwards = (4 * around**2 - 16 * (1 - overlap) * area).sqrt()
    outwards = (4 * overlap**2 * around**2 + 16 * overlap * (1 - overlap) * area).sqrt() - 2 * overlap * around
    if rule == "as_released":
        roots = (around + mixed) / 2, (2 * around + inwards) / 2, outwards / 2
    else:
        roots = (around - mixed) / 2, (2 * around - inwards) / 8, outwards / (8 * overlap)
    return torch.stack(roots).amin(0).floor().clamp(min=0).to(sizes)


def peaks(probs: Tensor) -> Tensor:
    """``Float[B K h w]`` -> the same, 0 where one of the eight cells around has more; equal neighbors both stay."""
    return probs.where(probs == max_pool2d(probs, 3, stride=1, padding=1), 0.0)


def boxes_at(cells: Tensor, sizes: Tensor, offsets: Tensor, width: int, stride: int) -> Tensor:
    """Turn targets around: boxes in pixels of the input.

    Args:
        cells: ``Long[D]``.
        sizes: ``Float[D 2]`` width and height in cells; below 0 they are 0.
        offsets: ``Float[D 2]`` in cells.
        width: w.
        stride: pixels from cell to cell.

    Returns:
        ``Float[D 4]`` xyxy.

    >>> boxes_at(torch.tensor([5]), torch.tensor([[2.0, 1.0]]), torch.tensor([[0.5, 0.25]]), 4, 4)
    tensor([[ 2.,  3., 10.,  7.]])
    """
    corner = torch.stack([cells % width, torch.div(cells, width, rounding_mode="floor")], 1)
    centers, half = corner + offsets, sizes.clamp(min=0) / 2
    return torch.cat([centers - half, centers + half], 1) * stride
