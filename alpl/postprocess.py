"""From the scores and boxes of all priors to detections, each with its source index.

Axes: B images, P priors (or points, or proposals), K foreground classes, D detections, G groups (an image and a class
with at least one candidate), T candidates of a group. A detection's source is its prior: its whole posterior, its
deltas and every other view of it are found there.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# IoUs in memory at a time: what a core's cache holds, or 64 MiB of float32 for each of a few temporary tensors
_PAIRS_ON_CPU, _PAIRS_ON_GPU = 2**16, 2**24


class Detections(NamedTuple):
    """Detections of a batch, ordered by image, then score (highest first), then source, then label."""

    row: Tensor
    """``Long[D]`` which of the B images."""
    sources: Tensor
    """``Long[D]`` which of the P priors."""
    labels: Tensor
    """``Long[D]`` which of the K foreground classes."""
    scores: Tensor
    """``Float[D]``."""


def detect(
    scores: Tensor,
    boxes: Tensor,
    *,
    score_thresh: float,
    nms_thresh: float,
    pre_nms_top_k: int,
    max_detections: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Detect in one image; see :func:`detect_batch`.

    Args:
        scores: ``Float[P K]``.
        boxes: ``Float[P 4]`` xyxy.
        score_thresh: see :func:`detect_batch`, also for the others.
        nms_thresh: of IoU.
        pre_nms_top_k: of a class.
        max_detections: of the image.

    Returns:
        Sources ``Long[D]``, labels ``Long[D]`` and scores ``Float[D]``, highest score first.
    """
    found = detect_batch(
        scores[None],
        boxes[None],
        score_thresh=score_thresh,
        nms_thresh=nms_thresh,
        pre_nms_top_k=pre_nms_top_k,
        max_detections=max_detections,
    )
    return found.sources, found.labels, found.scores


def detect_batch(
    scores: Tensor,
    boxes: Tensor,
    *,
    score_thresh: float,
    nms_thresh: float,
    pre_nms_top_k: int,
    max_detections: int | None = None,
) -> Detections:
    """Detect with greedy non-maximum suppression in every class of every image by itself (Liu et al. 2016, sec. 3).

    A prior may be detected in several classes. Equal scores are ordered by source, then by label.

    Args:
        scores: ``Float[B P K]`` probabilities of the foreground classes.
        boxes: ``Float[B P 4]`` xyxy, one box a prior for all classes.
        score_thresh: a candidate's score is above it.
        nms_thresh: a candidate is dropped where its IoU with a better one that is kept is above it.
        pre_nms_top_k: the candidates of a class that enter the suppression, the best ones.
        max_detections: of an image, the best ones of all classes; None for no limit.

    Raises:
        ValueError: the shapes are not these, or a limit is below 1.
    """
    _check(scores, boxes, pre_nms_top_k, max_detections)
    num_classes = scores.shape[2]
    by_class = scores.transpose(1, 2)
    row, labels, sources = (by_class > score_thresh).nonzero(as_tuple=True)
    group, values = row * num_classes + labels, by_class[row, labels, sources]
    order = _order(values, group)
    rank = _rank(group[order])
    chosen, rank = order[rank < pre_nms_top_k], rank[rank < pre_nms_top_k]
    kept = chosen[_suppress(boxes[row[chosen], sources[chosen]], group[chosen], rank, nms_thresh)]

    kept = kept[torch.argsort(labels[kept], stable=True)]
    kept = kept[torch.argsort(sources[kept], stable=True)]
    kept = kept[_order(values[kept], row[kept])]
    if max_detections is not None:
        kept = kept[_rank(row[kept]) < max_detections]
    return Detections(row[kept], sources[kept], labels[kept], values[kept])


def _check(scores: Tensor, boxes: Tensor, pre_nms_top_k: int, max_detections: int | None) -> None:
    if scores.ndim != 3 or boxes.shape != (*scores.shape[:2], 4):
        raise ValueError(f"scores and boxes must be [B P K] and [B P 4], got {list(scores.shape)}, {list(boxes.shape)}")
    for name, limit in (("pre_nms_top_k", pre_nms_top_k), ("max_detections", max_detections)):
        if limit is not None and limit < 1:
            raise ValueError(f"{name} must be >= 1, got {limit}")


def _order(values: Tensor, group: Tensor) -> Tensor:
    """Order by group, then by falling value, then as they come."""
    falling = torch.argsort(values, descending=True, stable=True)
    return falling[torch.argsort(group[falling], stable=True)]


def _rank(group: Tensor) -> Tensor:
    """Give each entry its place within its group; ``group`` is ascending."""
    return torch.arange(len(group), device=group.device) - torch.searchsorted(group, group)


def _suppress(boxes: Tensor, group: Tensor, rank: Tensor, nms_thresh: float) -> Tensor:
    """Give ``Bool[]``: which of the candidates (ordered by group and rank) greedy suppression keeps.

    Not by torchvision's ``batched_nms``: on small inputs it moves the classes apart by adding to the coordinates, whose
    rounding changes IoUs (and boxes with negative coordinates can meet those of another class); on large ones it calls
    a kernel for each class.
    """
    groups, compact = torch.unique_consecutive(group, return_inverse=True)
    if not len(groups):
        return torch.zeros_like(group, dtype=torch.bool)
    width = int(rank.max()) + 1
    table = boxes.new_zeros(len(groups), width, 4)
    table[compact, rank] = boxes
    present = torch.zeros(len(groups), width, dtype=torch.bool, device=boxes.device)
    present[compact, rank] = True
    pairs = _PAIRS_ON_CPU if boxes.device.type == "cpu" else _PAIRS_ON_GPU
    size = max(1, pairs // width**2)
    parts = zip(table.split(size), present.split(size), strict=True)
    return torch.cat([_greedy(part, there, nms_thresh) for part, there in parts])[compact, rank]


def _greedy(boxes: Tensor, present: Tensor, nms_thresh: float) -> Tensor:
    """``[G T 4]`` (best first), ``Bool[G T]`` -> ``Bool[G T]``: greedy suppression of all groups at once.

    A candidate is kept unless a better one that is kept overlaps it. That rule is applied to all candidates until
    nothing changes: after t rounds the first t are right, so the end is what the greedy order gives (Zheng et al.
    2021, Cluster-NMS, proposition 1), most often after a few rounds.
    """
    overlapping = (_iou(boxes) > nms_thresh).triu(1) & present[:, :, None]
    kept = present
    while True:
        again = present & ~(overlapping & kept[:, :, None]).any(1)
        if torch.equal(again, kept):
            return kept
        kept = again


def _iou(boxes: Tensor) -> Tensor:
    """``Float[G T 4]`` xyxy -> ``Float[G T T]``; two boxes without area have none (NaN)."""
    x1, y1, x2, y2 = (boxes if boxes.dtype == torch.float64 else boxes.float()).unbind(-1)

    def shared(low: Tensor, high: Tensor) -> Tensor:
        ends = torch.minimum(high[:, :, None], high[:, None])
        return ends.sub_(torch.maximum(low[:, :, None], low[:, None])).clamp_(min=0)

    both = shared(x1, x2).mul_(shared(y1, y2))
    area = (x2 - x1) * (y2 - y1)
    return both / (area[:, :, None] + area[:, None] - both)
