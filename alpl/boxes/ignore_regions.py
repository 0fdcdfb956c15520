"""Regions of an image where nothing that is found counts, such as KITTI's DontCare.

Axes: D detections, R regions.
"""

from __future__ import annotations

import torch
from torch import Tensor


def share_within(boxes: Tensor, regions: Tensor) -> Tensor:
    r"""Give how much of each box lies in each region, :math:`|b \cap r| / |b|`; 0 of boxes without area.

    Args:
        boxes: ``Float[D 4]`` xyxy.
        regions: ``Float[R 4]`` xyxy.

    Returns:
        ``Float[D R]`` in [0, 1].

    >>> share_within(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[5.0, 0, 90, 90], [20, 0, 30, 10]]))
    tensor([[0.5000, 0.0000]])
    """
    start = torch.maximum(boxes[:, None, :2], regions[:, :2])
    end = torch.minimum(boxes[:, None, 2:], regions[:, 2:])
    both = (end - start).clamp(min=0).prod(2)
    area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
    return torch.where(both > 0, both / area[:, None], 0.0)
