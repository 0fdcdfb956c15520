"""Which boxes are large and wide enough to be looked at (PPAL's released code; its text has no such rule).

Axes: n boxes.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_SIDE = 16.0
"""Pixels of the original image; the root of a box's area must be above it."""
LARGEST_ASPECT = 5.0
"""Of either side to the other; exactly this still counts, by the released code's epsilon."""
_EPS = 1e-10


def valid_boxes(boxes: Tensor, sizes: Tensor) -> Tensor:
    r"""Tell the boxes that count from those that are small, narrow or outside the image (``as_released``).

    .. math:: x_1 \le W,\; y_1 \le H,\qquad \sqrt{w h} > 16,\qquad w / h < 5,\; h / w < 5

    with right and bottom edges cut at the image's; left and top ones are not, also where they are negative.

    Args:
        boxes: ``Float[n 4]`` xyxy, in pixels of the original images.
        sizes: ``[n 2]`` height and width of the image of each.

    Returns:
        ``Bool[n]``.

    >>> valid_boxes(torch.tensor([[0.0, 0, 16, 16], [0, 0, 17, 17], [0, 0, 101, 20]]), torch.full((3, 2), 200))
    tensor([False,  True, False])
    """
    boxes = boxes.double()  # the epsilon is lost in single precision
    height, width = sizes.to(boxes).unbind(-1)
    x1, y1, x2, y2 = boxes.unbind(-1)
    wide, high = torch.minimum(x2, width) - x1, torch.minimum(y2, height) - y1
    inside = (x1 <= width) & (y1 <= height)
    large = (wide * high).clamp(min=0).sqrt() > LEAST_SIDE
    return inside & large & (wide / (high + _EPS) < LARGEST_ASPECT) & (high / (wide + _EPS) < LARGEST_ASPECT)
