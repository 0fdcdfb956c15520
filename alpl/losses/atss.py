"""Which anchors learn which object, by a threshold of each object's own (Zhang et al. 2020, "Bridging the gap between
anchor-based and anchor-free detection via adaptive training sample selection", ATSS), and DDOD's changes to it (Chen
et al. 2021, "Disentangle your dense object detector").

Axes: P anchors over all maps, L maps, n objects of an image, k candidates of an object, K classes.
"""  # noqa: D205

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from alpl.boxes.iou_matching import iou
from alpl.losses.focal import BACKGROUND

_INSIDE = 0.01  # pixels, as released: a center on the rim of a box is not in it


def candidates_of(anchors: Tensor, lengths: Sequence[int], boxes: Tensor, topk: int) -> Tensor:
    """Give, for each object, the anchors of each map whose centers are nearest to its center.

    Args:
        anchors: ``Float[P 4]`` xyxy, of one map after the other.
        lengths: anchors of each map, L.
        boxes: ``Float[n 4]`` xyxy, at least one.
        topk: of a map; all of them where it has fewer. At equal distance the first count.

    Returns:
        ``Long[k n]``, none twice in a column.
    """
    centers, aims = _centers(anchors), _centers(boxes)
    parts, start = [], 0
    for length in lengths:
        distance = (centers[start : start + length, None] - aims).square().sum(-1)
        parts.append(distance.sort(dim=0, stable=True).indices[:topk] + start)
        start += length
    return torch.cat(parts)


@torch.no_grad()
def atss_matches(anchors: Tensor, lengths: Sequence[int], boxes: Tensor, topk: int = 9) -> Tensor:
    r"""Match anchors and objects (ATSS, Algorithm 1).

    A candidate (:func:`candidates_of`) of an object is its own where

    .. math:: IoU \ge m + v

    with mean m and standard deviation v (over k - 1; 0 of a single one) of the IoUs of all its candidates, and the
    anchor's center lies inside the object. An anchor of several objects goes to that of the highest IoU, the first of
    equal ones. No match is forced: an object may end with none.

    Args:
        anchors: ``Float[P 4]`` xyxy, of one map after the other.
        lengths: anchors of each map, L.
        boxes: ``Float[n 4]`` xyxy.
        topk: candidates of a map.

    Returns:
        ``Long[P]``: the object of each anchor, :data:`alpl.losses.focal.BACKGROUND` where it has none.
    """
    if not len(boxes):
        return _nothing(anchors)
    candidates = candidates_of(anchors, lengths, boxes, topk)
    return _matches(anchors, candidates, iou(anchors[candidates], boxes), boxes)


@torch.no_grad()
def quality_matches(
    anchors: Tensor,
    lengths: Sequence[int],
    boxes: Tensor,
    probs: Tensor,
    predicted: Tensor,
    *,
    alphas: Sequence[float],
    topk: int = 9,
) -> list[Tensor]:
    r"""Match as :func:`atss_matches`, but by what is predicted at an anchor instead of its IoU (DDOD, sec. 3.1).

    .. math:: q = p^{1 - \alpha} \cdot IoU(\hat b, b)^{\alpha}

    with the probability p of the object's class and the predicted box :math:`\hat b`. Candidates are those nearest to
    the object's center, as in its released code.

    Args:
        anchors: ``Float[P 4]`` xyxy, of one map after the other.
        lengths: anchors of each map, L.
        boxes: ``Float[n 4]`` xyxy.
        probs: ``Float[P n]``, of the class of each object.
        predicted: ``Float[P 4]`` xyxy.
        alphas: one matching for each; 1 and anchors in place of predictions is ATSS.
        topk: candidates of a map.

    Returns:
        ``Long[P]`` each, see :func:`atss_matches`.
    """
    if not len(boxes):
        return [_nothing(anchors) for _ in alphas]
    candidates = candidates_of(anchors, lengths, boxes, topk)
    likely, overlap = probs.gather(0, candidates), iou(predicted[candidates], boxes)
    return [_matches(anchors, candidates, likely.pow(1 - alpha) * overlap.pow(alpha), boxes) for alpha in alphas]


def level_weights(positives: Tensor) -> Tensor:
    """Weigh maps by the positives that a training has met on them so far (DDOD, sec. 3.3).

    Args:
        positives: ``Long[... L]``.

    Returns:
        ``Float32[... L]``: 2 where there are fewest, 1 where there are most, linear between; 2 where all are equal.

    >>> level_weights(torch.tensor([10, 30, 20]))
    tensor([2.0000, 1.0000, 1.5000])
    """
    above = positives - positives.amin(-1, keepdim=True)
    return 2 - above / above.amax(-1, keepdim=True).clamp(min=1)


def _matches(anchors: Tensor, candidates: Tensor, quality: Tensor, boxes: Tensor) -> Tensor:
    """``Long[k n]`` anchors, ``Float[k n]`` not below 0 -> ``Long[P]``."""
    spread = quality.std(0) if len(quality) > 1 else torch.zeros_like(quality[0])
    centers = _centers(anchors)[candidates]
    inside = torch.cat([centers - boxes[:, :2], boxes[:, 2:] - centers], -1).amin(-1) > _INSIDE
    own = (quality >= quality.mean(0) + spread) & inside
    table = quality.new_full((len(anchors), len(boxes)), -1.0).scatter(0, candidates, quality.where(own, -1.0))
    best, matched = table.max(1)
    return matched.where(best >= 0, BACKGROUND)


def _centers(boxes: Tensor) -> Tensor:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _nothing(anchors: Tensor) -> Tensor:
    return torch.full((len(anchors),), BACKGROUND, device=anchors.device)
