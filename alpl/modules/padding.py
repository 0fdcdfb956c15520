"""From padded inputs back to images: boxes in their own pixels, averages without the padding.

Axes: B images of a batch, D detections of the batch, F features.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

from alpl.data.batch import Batch


def input_sizes(batch: Batch) -> Tensor:
    """``Long[B 2]``: height and width of each image within the padded input."""
    if batch.shapes is not None:
        return batch.shapes
    height, width = batch.images.shape[-2:]
    return batch.index.new_tensor([[height, width]]).expand(len(batch.images), 2)


def original_boxes(boxes: Tensor, row: Tensor, batch: Batch) -> Tensor:
    """``Float[D 4]`` in pixels of the padded input -> in pixels of the original images."""
    assert batch.sizes is not None, "detection batches carry the sizes of the original images"
    ratios = batch.sizes.to(boxes) / input_sizes(batch).to(boxes)
    return boxes * ratios[row][:, [1, 0, 1, 0]]


def input_boxes(boxes: Tensor, row: Tensor, batch: Batch) -> Tensor:
    """``Float[D 4]`` in pixels of the original images -> in pixels of the padded input: :func:`original_boxes` back."""
    assert batch.sizes is not None, "detection batches carry the sizes of the original images"
    ratios = input_sizes(batch).to(boxes) / batch.sizes.to(boxes)
    return boxes * ratios[row][:, [1, 0, 1, 0]]


def clip(boxes: Tensor, row: Tensor, batch: Batch) -> Tensor:
    """``Float[D 4]`` in pixels of the padded input -> the same within the images without their padding."""
    return torch.minimum(boxes.clamp(min=0), input_sizes(batch)[row][:, [1, 0, 1, 0]].to(boxes))


def content_average(trunk: OrderedDict[str, Tensor], batch: Batch) -> Tensor:
    """``Float[B F]``: average of the backbone's last map over the cells of each image without its padding."""
    return _average(next(reversed(trunk.values())).float(), batch)


def pyramid_average(maps: Sequence[Tensor], batch: Batch) -> Tensor:
    """``Float[B L*F]``: the same of each of L maps of F channels, the finest first."""
    return torch.cat([_average(each.float(), batch) for each in maps], 1)


def pooled_maps(maps: Sequence[Tensor], batch: Batch) -> list[Tensor]:
    """``Float[B channels 1 1]`` of each map: the same average, so that no padding speaks for an image."""
    return [_average(each.float(), batch)[:, :, None, None] for each in maps]


def _average(map_: Tensor, batch: Batch) -> Tensor:
    if batch.shapes is None:
        return map_.mean((2, 3))
    inside = torch.ones_like(map_[:, :1])
    for axis in (0, 1):
        side, pixels = map_.shape[2 + axis], batch.images.shape[2 + axis]
        number = (batch.shapes[:, axis].to(map_) * (side / pixels)).ceil().clamp(min=1)
        shape = (1, 1, -1, 1) if axis == 0 else (1, 1, 1, -1)
        inside = inside * (torch.arange(side, device=map_.device).view(shape) < number.view(-1, 1, 1, 1))
    return (map_ * inside).sum((2, 3)) / inside.sum((2, 3))
