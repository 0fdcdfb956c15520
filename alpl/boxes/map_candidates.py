"""The candidates of dense detectors: the best pairs of anchor and class of each map, before suppression.

Axes: B images, P anchors (or points) over all maps of a pyramid, K classes, n candidates.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from alpl.boxes.postprocess import Detections


def best_of_maps(scores: Iterable[Tensor], score_thresh: float, pre_nms_top_k: int) -> Detections:
    """Give the candidates of every image: of each map the best ``pre_nms_top_k`` over all its anchors and classes.

    As in torchvision's RetinaNet and FCOS, but among equal scores the first anchors count, then the first classes,
    where torchvision leaves the choice to its sort. Maps are asked for one by one, so that the scores of all need not
    be in memory at a time.

    Args:
        scores: ``Float[B p K]`` for each map, its p anchors in order; the P of all are numbered through.
        score_thresh: a candidate's score is above it.
        pre_nms_top_k: of an image and map.

    Returns:
        n candidates: those of an image and map beside each other, in the order of anchor and class.

    Raises:
        ValueError: ``pre_nms_top_k`` is below 1, or there is no map.
    """
    if pre_nms_top_k < 1:
        raise ValueError(f"pre_nms_top_k must be >= 1, got {pre_nms_top_k}")
    parts, offset = [], 0
    for of_map in scores:
        num_classes = of_map.shape[2]
        for row, values in enumerate(of_map.flatten(1)):
            places = (values > score_thresh).nonzero().flatten()
            places = places[_best(values[places], pre_nms_top_k)]
            sources = torch.div(places, num_classes, rounding_mode="floor") + offset
            parts.append(Detections(torch.full_like(places, row), sources, places % num_classes, values[places]))
        offset += of_map.shape[1]
    if not parts:
        raise ValueError("scores must hold at least one map, got none")
    return Detections(*(torch.cat(fields) for fields in zip(*parts, strict=True)))


def _best(values: Tensor, number: int) -> Tensor:
    """``Float[m]`` -> ``Long``: where the ``number`` highest are, in order; of equal ones the first."""
    if len(values) <= number:
        return torch.arange(len(values), device=values.device)
    last = values.topk(number).values[-1]
    above = values > last
    equal = (values == last).nonzero().flatten()[: number - int(above.sum())]
    above[equal] = True
    return above.nonzero().flatten()
