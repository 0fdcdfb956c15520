"""Points and boxes under a known change of the image: homogeneous 3x3 matrices over pixels.

Axes: n boxes or points.
"""

from __future__ import annotations

import torch
from torch import Tensor


def warp_points(points: Tensor, warp: Tensor) -> Tensor:
    """Move points.

    Args:
        points: ``Float[n 2]`` x and y.
        warp: ``Float[3 3]``, from where the points are to where they go.

    >>> warp_points(torch.tensor([[1.0, 2.0]]), torch.tensor([[-1.0, 0, 10], [0, 1, 5], [0, 0, 1]]))
    tensor([[9., 7.]])
    """
    moved = torch.cat([points, torch.ones_like(points[:, :1])], 1) @ warp.T
    return moved[:, :2] / moved[:, 2:]


def warp_boxes(boxes: Tensor, warp: Tensor) -> Tensor:
    """Give the boxes around the four moved corners of each box; they may reach beyond the image.

    Args:
        boxes: ``Float[n 4]`` xyxy.
        warp: ``Float[3 3]``.

    Returns:
        ``Float[n 4]`` xyxy.

    >>> warp_boxes(torch.tensor([[0.0, 0, 4, 2]]), torch.tensor([[-1.0, 0, 10], [0, 1, 5], [0, 0, 1]]))
    tensor([[ 6.,  5., 10.,  7.]])
    """
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)
    moved = warp_points(corners, warp).view(-1, 4, 2)
    return torch.cat([moved.amin(1), moved.amax(1)], 1)
