"""From the scores and boxes of all priors to detections, each with its source index.

Axes: B images, P priors (or points, or proposals), K foreground classes, D detections, G groups (an image and a class
with at least one candidate), T candidates of a group. A detection's source is its prior: its whole posterior, its
deltas and every other view of it are found there.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import nms

# IoUs in memory at a time: what a core's cache holds, or 64 MiB of float32 for each of a few temporary tensors
_PAIRS_ON_CPU, _PAIRS_ON_GPU = 2**16, 2**24
# candidates of a group above which torchvision's kernel, one group at a time, is the faster way
_WIDEST_ON_CPU, _WIDEST_ON_GPU = 64, 2048


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

    def at(self, chosen: Tensor) -> Detections:
        """Give some of them (``Long[n]``)."""
        return Detections(*(part[chosen] for part in self))


def detect_batch(
    scores: Tensor,
    boxes: Tensor,
    *,
    score_thresh: float,
    nms_thresh: float | None,
    pre_nms_top_k: int,
    max_detections: int | None = None,
) -> Detections:
    """Detect with greedy non-maximum suppression in every class of every image by itself (Liu et al. 2016, sec. 3).

    A prior may be detected in several classes. Equal scores are ordered by source, then by label.

    Args:
        scores: ``Float[B P K]`` probabilities of the foreground classes.
        boxes: ``Float[B P 4]`` xyxy, one box a prior for all classes.
        score_thresh: a candidate's score is above it.
        nms_thresh: a candidate is dropped where its IoU with a better one that is kept is above it; None drops none.
        pre_nms_top_k: the candidates of a class that enter the suppression, the best ones.
        max_detections: of an image, the best ones of all classes; None for no limit.

    Raises:
        ValueError: the shapes are not these, or a limit is below 1.
    """
    _check(scores, boxes, pre_nms_top_k, max_detections)
    by_class = scores.transpose(1, 2)
    row, labels, sources = (by_class > score_thresh).nonzero(as_tuple=True)
    candidates = Detections(row, sources, labels, by_class[row, labels, sources])
    candidates = candidates.at(best_of_classes(candidates, pre_nms_top_k))
    chosen = boxes[candidates.row, candidates.sources]
    return candidates.at(detect_candidates(candidates, chosen, nms_thresh, max_detections))


def best_of_classes(candidates: Detections, number: int) -> Tensor:
    """``Long[m]``: the best candidates of each image and class, at most ``number`` of them; of equal ones the first."""
    if not len(candidates.row):
        return candidates.row
    group = candidates.row * (candidates.labels.max() + 1) + candidates.labels
    order = _order(candidates.scores, group)
    return order[_rank(group[order]) < number]


def detect_candidates(
    candidates: Detections, boxes: Tensor, nms_thresh: float | None, max_detections: int | None = None
) -> Tensor:
    """Suppress in every class of every image by itself, candidates that have a box each.

    Args:
        candidates: n of them, in any order; of two with equal scores in a class, the earlier one is the better.
        boxes: ``Float[n 4]`` xyxy.
        nms_thresh: see :func:`detect_batch`.
        max_detections: see :func:`detect_batch`.

    Returns:
        ``Long[D]``: which candidates are detections, in the order of :class:`Detections`.
    """
    row, sources, labels, scores = candidates
    if not len(row):
        return row
    group = row * (labels.max() + 1) + labels
    order = _order(scores, group)
    kept = order if nms_thresh is None else order[_suppress(boxes[order], group[order], nms_thresh)]
    kept = kept[torch.argsort(labels[kept], stable=True)]
    kept = kept[torch.argsort(sources[kept], stable=True)]
    kept = kept[_order(scores[kept], row[kept])]
    return kept if max_detections is None else kept[_rank(row[kept]) < max_detections]


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


def _suppress(boxes: Tensor, group: Tensor, nms_thresh: float) -> Tensor:
    """Give ``Bool[n]``: which of the candidates (ordered by group, then best first) greedy suppression keeps.

    Not by torchvision's ``batched_nms``: on small inputs it moves the classes apart by adding to the coordinates, whose
    rounding changes IoUs (and boxes with negative coordinates can meet those of another class); on large ones it calls
    a kernel for each class. That is done here for large groups only; groups of similar size go together, lest a few
    large ones widen the table of all.
    """
    kept = torch.zeros_like(group, dtype=torch.bool)
    _, compact, counts = torch.unique_consecutive(group, return_inverse=True, return_counts=True)
    starts = counts.cumsum(0) - counts
    widest = _WIDEST_ON_CPU if boxes.device.type == "cpu" else _WIDEST_ON_GPU
    large = (counts > widest).nonzero().flatten().tolist()
    for start, count in zip(starts[large].tolist(), counts[large].tolist(), strict=True):
        kept[start : start + count] = _greedy_one(boxes[start : start + count], nms_thresh)
    size = counts[compact]
    low = 0
    while low < widest:
        high = max(2 * low, 8)
        within = ((size > low) & (size <= min(high, widest))).nonzero().flatten()
        if len(within):
            rank = within - starts[compact[within]]
            kept[within] = _suppress_table(boxes[within], group[within], rank, nms_thresh)
        low = high
    return kept


def _greedy_one(boxes: Tensor, nms_thresh: float) -> Tensor:
    """``Float[T 4]`` (best first) -> ``Bool[T]``, by torchvision's kernel: its IoUs are those of :func:`_iou`."""
    kept = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    falling = torch.arange(len(boxes), 0, -1, device=boxes.device, dtype=torch.float64)
    exact = boxes if boxes.dtype == torch.float64 else boxes.float()
    kept[nms(exact, falling.to(exact), nms_thresh)] = True
    return kept


def _suppress_table(boxes: Tensor, group: Tensor, rank: Tensor, nms_thresh: float) -> Tensor:
    """Give ``Bool[n]`` for candidates ordered by group and rank, by a table of groups."""
    groups, compact = torch.unique_consecutive(group, return_inverse=True)
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
