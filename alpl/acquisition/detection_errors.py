"""Oracle of detection: frames with the most errors by the true objects. An upper bound, no method (thesis sec. 2.3.1).

Axes: U unlabeled images, d detections and n objects of one image.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, final

import torch
from torch import Tensor

from alpl.acquisition.base import AbstractRanking, Context
from alpl.acquisition.object_ranking import check_score_thresh
from alpl.boxes.iou_matching import iou
from alpl.boxes.objects import Objects
from alpl.errors import ConfigError
from alpl.predictions import Need

Count: TypeAlias = Literal["fp", "fn", "both"]
Matching: TypeAlias = Literal["as_written", "as_released"]
COUNTS: tuple[Count, ...] = ("fp", "fn", "both")


class Errors(NamedTuple):
    """The errors in one image."""

    false_positives: int
    false_negatives: int

    def count(self, which: Count) -> int:
        """Give one of both numbers, or their sum."""
        return sum(number for name, number in zip(COUNTS, self, strict=False) if which in (name, "both"))


@final
class DetectionErrors(AbstractRanking):
    """Images with the most false positives, or false negatives, or both, by the true objects.

    Args:
        count: what is counted: ``fp``, ``fn`` or ``both``.
        iou_thresh: overlap (IoU) above which a detection is of an object; as released, 0.75 and at least that.
        score_thresh: a detection of this score, or of a lower one, does not count.
        matching: see :func:`errors_of`.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    needs = Need.BOXES | Need.TARGETS

    def __init__(
        self,
        count: Count = "fp",
        iou_thresh: float = 0.5,
        score_thresh: float = 0.5,
        matching: Matching = "as_written",
    ) -> None:
        if count not in COUNTS:
            raise ConfigError(f"acquisition.count must be one of {', '.join(COUNTS)}, got {count!r}")
        if not 0 < iou_thresh <= 1:
            raise ConfigError(f"acquisition.iou_thresh must be in (0, 1], got {iou_thresh}")
        if matching not in ("as_written", "as_released"):
            raise ConfigError(f"acquisition.matching must be as_written or as_released, got {matching!r}")
        self.count, self.iou_thresh, self.matching = count, iou_thresh, matching
        self.score_thresh = check_score_thresh(score_thresh)

    def utility(self, context: Context) -> Tensor:
        """``Float64[U]``: the number of errors."""
        predictions, targets = context.predictions, context.targets
        assert predictions.boxes is not None and targets is not None, "Need.BOXES and Need.TARGETS were declared"
        assert predictions.scores is not None and predictions.labels is not None, "every detector gives them"
        chosen = (predictions.scores > self.score_thresh).nonzero().flatten()
        chosen = chosen[torch.argsort(predictions.row[chosen], stable=True)]
        counts = torch.bincount(predictions.row[chosen], minlength=predictions.num_images).tolist()
        parts = (
            values[chosen].cpu().split(counts) for values in (predictions.boxes, predictions.scores, predictions.labels)
        )
        found = [
            errors_of(boxes.float(), scores, labels, objects, self.iou_thresh, self.matching).count(self.count)
            for boxes, scores, labels, objects in zip(*parts, targets, strict=True)
        ]
        return torch.tensor(found, dtype=torch.float64)


def errors_of(
    boxes: Tensor, scores: Tensor, labels: Tensor, objects: Objects, iou_thresh: float, matching: Matching
) -> Errors:
    """Count the errors in one image.

    Args:
        boxes: ``Float[d 4]``.
        scores: ``Float[d]``.
        labels: ``Long[d]``.
        objects: the true ones; difficult ones count neither way, nor does what is found in them.
        iou_thresh: see :class:`DetectionErrors`.
        matching: ``as_written``: a detection is correct where it overlaps any object, whatever its class; of several
            that overlap one object most, all but that of the highest score are duplicates, and wrong; an object that no
            detection overlaps is missed. ``as_released``: by falling score each detection takes the free object of its
            class that it overlaps most; it is wrong where there is none, and objects that are left are missed.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    boxes, labels = boxes[order], labels[order]
    overlap = iou(boxes[:, None], objects.boxes[None]).nan_to_num(0.0)  # [d n]
    if matching == "as_released":
        near = (overlap >= iou_thresh) & (labels[:, None] == objects.labels[None])
        return _taken(overlap, near, objects.difficult, free=True)
    return _taken(overlap, overlap > iou_thresh, objects.difficult, free=False)


def _taken(overlap: Tensor, near: Tensor, difficult: Tensor, *, free: bool) -> Errors:
    """Let each detection take the object that it overlaps most: of the free ones, or of all."""
    taken = torch.zeros(overlap.shape[1], dtype=torch.bool)
    false_positives = 0
    for own, can in zip(overlap, near, strict=True):
        counting = can & ~difficult & (~taken if free else True)
        if bool(counting.any()):
            best = int(own.masked_fill(~counting, -1).argmax())
            false_positives += int(taken[best])
            taken[best] = True
        elif not bool((can & difficult).any()):
            false_positives += 1
    found = taken if free else near.any(0)
    return Errors(false_positives, int((~found & ~difficult).sum()))
