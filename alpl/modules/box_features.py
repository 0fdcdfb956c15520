"""Features of boxes out of a pyramid's maps: at the cell that something comes from, at its center, or over its box.

Axes: B images of a batch, n boxes, F features.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from alpl.data.batch import Batch
from alpl.modules.detection_features import RoiFeatures
from alpl.modules.padding import input_sizes

FeatureSample: TypeAlias = Literal["cell", "center", "box", "as_released"]
FEATURE_SAMPLES = ("cell", "center", "box", "as_released")


def box_centers(boxes: Tensor, row: Tensor, batch: Batch, *, exchanged: bool) -> Tensor:
    """Give the boxes' centers as shares of the input: 0 its left or upper edge, 1 its right or lower one.

    Args:
        boxes: ``Float[n 4]`` xyxy, pixels of the padded input.
        row: ``Long[n]`` the image of each.
        batch: whose images they lie in.
        exchanged: whether x is a share of the height and y of the width, both without the padding, as in the released
            code of PPAL: on wide images what lies far right is outside then. Else shares are of the padded input,
            which the maps are of.

    Returns:
        ``Float[n 2]`` x and y.
    """
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    if exchanged:
        return centers / input_sizes(batch).to(centers)[row]
    height, width = batch.images.shape[-2:]
    return centers / centers.new_tensor([width, height])


def sampled(map_: Tensor, row: Tensor, centers: Tensor) -> Tensor:
    """Read a map between its cells, bilinearly; beyond their centers zeros count, and far outside all is zero.

    Args:
        map_: ``Float[B F h w]``.
        row: ``Long[n]`` the image of each point.
        centers: ``Float[n 2]``, see :func:`box_centers`.

    Returns:
        ``Float32[n F]``.
    """
    features = torch.zeros(len(row), map_.shape[1], device=map_.device)
    for image in row.unique().tolist():
        chosen = (row == image).nonzero().flatten()
        points = (2 * centers[chosen] - 1).float()[None, :, None]
        read = grid_sample(map_[image : image + 1].float(), points, align_corners=False)
        features[chosen] = read[0, :, :, 0].T
    return features


def box_averages(map_: Tensor, row: Tensor, boxes: Tensor, batch: Batch) -> Tensor:
    """Average a map over boxes, see :class:`alpl.modules.detection_features.RoiFeatures`.

    Args:
        map_: ``Float[B F h w]``, of the padded input.
        row: ``Long[n]`` the image of each box.
        boxes: ``Float[n 4]`` xyxy, pixels of the padded input.
        batch: whose images they lie in.

    Returns:
        ``Float32[n F]``.
    """
    height, width = batch.images.shape[-2:]
    return RoiFeatures(0)([map_], boxes / boxes.new_tensor([width, height] * 2), row, torch.zeros_like(row), [1])
