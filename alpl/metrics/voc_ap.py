"""Average precision as PASCAL VOC defines it (Everingham et al. 2010, sec. 4.2, and its development kit).

Axes: B images of a batch, D detections and G objects of one image, K foreground classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, final

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchvision.ops import box_iou

from alpl.boxes.ignore_regions import share_within
from alpl.boxes.objects import NO_CLASS, Objects
from alpl.errors import ConfigError

ImageDetections: TypeAlias = Mapping[str, Tensor]
"""What was found on one image: ``boxes`` ``Float[D 4]`` xyxy absolute, ``labels`` ``Long[D]`` (0 is the first
foreground class), ``scores`` ``Float[D]``; the form of torchvision and torchmetrics."""


@final
class VOCAveragePrecision(Metric):
    r"""Mean average precision over images, batches and processes.

    A detection belongs to the object of its class that it overlaps most (the first of equals). It is a true positive
    if that overlap reaches ``iou_thresh`` and the object is not taken by a detection of higher score, a false positive
    otherwise; where the object is difficult it is neither, nor is what would be a false positive and lies to that share
    of its own area in a region to be ignored. Over the detections by falling score,

    .. math::
        AP_{11} = \tfrac{1}{11} \sum_{r \in \{0, 0.1, \dots, 1\}} \max_{\tilde r \ge r} p(\tilde r), \qquad
        AP_{area} = \int_0^1 \max_{\tilde r \ge r} p(\tilde r)\, dr

    with recall against the objects that are not difficult. Detections of equal score are taken in the order of the
    images, then in the given order, as a stable sort does; several processes give the same as one if process r
    has every R-th image (:class:`alpl.data.batch.ShardSampler`). Overlaps are in float64, areas without + 1.

    Args:
        num_classes: K.
        iou_thresh: least overlap.
        interpolation: ``11point`` (VOC2007) or ``area`` (since VOC2010).
        overlap: ``devkit`` asks for at least ``iou_thresh``, ``as_released`` for more (ssd.pytorch's evaluation, which
            Elezi et al. and AL-MDN used). Its rounding to 3 and 1 decimals and its shift by a pixel are not copied.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    full_state_update = True  # forward() may not merge states: image numbers go on from batch to batch
    is_differentiable = False
    higher_is_better = True

    scores: list[Tensor]
    labels: list[Tensor]
    correct: list[Tensor]
    images: list[Tensor]
    num_images: Tensor
    num_objects: Tensor

    def __init__(
        self,
        num_classes: int,
        iou_thresh: float = 0.5,
        interpolation: Literal["11point", "area"] = "11point",
        overlap: Literal["devkit", "as_released"] = "devkit",
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ConfigError(f"num_classes must be >= 1, got {num_classes}")
        if not 0 < iou_thresh <= 1:
            raise ConfigError(f"iou_thresh must be in (0, 1], got {iou_thresh}")
        if interpolation not in ("11point", "area"):
            raise ConfigError(f"interpolation must be 11point or area, got {interpolation!r}")
        if overlap not in ("devkit", "as_released"):
            raise ConfigError(f"overlap must be devkit or as_released, got {overlap!r}")
        self.num_classes, self.iou_thresh = num_classes, iou_thresh
        self.interpolation, self.overlap = interpolation, overlap
        # Float32[n] without exception: that is what a process without an image sends when states are gathered
        for name in ("scores", "labels", "correct", "images"):
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self.add_state("num_images", default=torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("num_objects", default=torch.zeros(num_classes, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, detections: Sequence[ImageDetections], targets: Sequence[Objects]) -> None:
        """Judge the detections of B images, one of each an image.

        Raises:
            ValueError: shapes or types do not belong together, a label is no class, or a number is not finite.
        """
        check_batch(detections, targets, self.num_classes)
        for found, objects in zip(detections, targets, strict=True):
            boxes, labels, scores = (found[name].detach().to(self.device) for name in ("boxes", "labels", "scores"))
            truth = Objects(*(getattr(objects, n).to(self.device) for n in ("boxes", "labels", "difficult")))
            correct, counts = self._judge(boxes.double(), labels, scores, truth)
            self.scores.append(scores[counts].float())
            self.labels.append(labels[counts].float())
            self.correct.append(correct[counts].float())
            self.images.append(torch.full_like(self.scores[-1], float(self.num_images)))
            self.num_objects += truth.labels[~truth.difficult].bincount(minlength=self.num_classes)
            self.num_images += 1

    def compute(self) -> dict[str, Any]:
        """Give ``map``, a float in [0, 1], and ``per_class``, ``Float64[K]``.

        A class without an object that counts is NaN, and not in the mean; ``map`` is NaN if that is all of them.
        ``per_class`` is a numpy array, since torchmetrics would make a number of a tensor where K = 1.
        """
        scores, labels, correct, images = (
            joined(state) for state in (self.scores, self.labels, self.correct, self.images)
        )
        order = torch.argsort(images, stable=True)
        order = order[torch.argsort(scores[order], descending=True, stable=True)]
        order = order[torch.argsort(labels[order], stable=True)]
        sizes = labels.long().bincount(minlength=self.num_classes).tolist()
        num_objects = self.num_objects.tolist()
        average = _eleven_points if self.interpolation == "11point" else _area
        per_class = [
            average(hits.cumsum(0), number) if number else math.nan
            for hits, number in zip(correct[order].long().split(sizes), num_objects, strict=True)
        ]
        known = [value for value in per_class if not math.isnan(value)]
        return {"map": sum(known) / len(known) if known else math.nan, "per_class": np.array(per_class)}

    def _judge(self, boxes: Tensor, labels: Tensor, scores: Tensor, truth: Objects) -> tuple[Tensor, Tensor]:
        """``Bool[D]`` twice: which detections of an image are true positives, and which count."""
        if not len(labels) or not len(truth):
            return torch.zeros_like(labels, dtype=torch.bool), torch.ones_like(labels, dtype=torch.bool)
        overlaps = box_iou(boxes, truth.boxes.double())  # two empty boxes: NaN, which reaches no threshold
        largest, taken = overlaps.where(labels[:, None] == truth.labels, -1.0).max(1)
        hits = largest >= self.iou_thresh if self.overlap == "devkit" else largest > self.iou_thresh
        order = torch.argsort(scores, descending=True, stable=True)
        order = order[hits[order]]
        first = torch.full((len(truth),), len(labels), device=order.device)
        place = torch.arange(len(order), device=order.device)
        first.scatter_reduce_(0, taken[order], place, reduce="amin")
        correct = torch.zeros_like(hits)
        correct[order] = first[taken[order]] == place
        excused = ~correct & self._in_regions(boxes, truth)
        return correct, ~(hits & truth.difficult[taken]) & ~excused

    def _in_regions(self, boxes: Tensor, truth: Objects) -> Tensor:
        """``Bool[D]``: which detections lie in a region of no class."""
        share = share_within(boxes, truth.boxes[truth.labels == NO_CLASS].double())
        return (share >= self.iou_thresh if self.overlap == "devkit" else share > self.iou_thresh).any(1)


def check_batch(detections: Sequence[ImageDetections], targets: Sequence[Objects], num_classes: int) -> None:
    """Make sure that detections and objects are of the documented form.

    Raises:
        ValueError: they are not.
    """
    if len(detections) != len(targets):
        raise ValueError(f"detections must be given for {len(targets)} images, got {len(detections)}")
    for found, objects in zip(detections, targets, strict=True):
        boxes, labels, scores = found["boxes"], found["labels"], found["scores"]
        number = len(scores)
        if boxes.shape != (number, 4) or labels.shape != (number,) or scores.shape != (number,):
            shapes = f"{list(boxes.shape)}, {list(labels.shape)}, {list(scores.shape)}"
            raise ValueError(f"boxes, labels and scores must be [D 4], [D], [D], got shapes {shapes}")
        if labels.dtype != torch.long or not boxes.is_floating_point() or not scores.is_floating_point():
            types = f"{boxes.dtype}, {labels.dtype}, {scores.dtype}"
            raise ValueError(f"boxes, labels and scores must be Float, Long, Float, got {types}")
        if not (boxes.isfinite().all() and scores.isfinite().all()):
            raise ValueError("boxes and scores must be finite, got NaN or infinite values")
        classes = objects.labels[(objects.labels != NO_CLASS) | ~objects.difficult]
        for name, given in (("detections", labels), ("targets", classes)):
            if len(given) and not 0 <= int(given.min()) <= int(given.max()) < num_classes:
                wrong = f"{int(given.min())} to {int(given.max())}"
                raise ValueError(f"labels of {name} must lie in [0, {num_classes}), got {wrong}")


def joined(state: list[Tensor] | Tensor) -> Tensor:
    """``Float32[n]`` on the CPU: a state's parts as one; they are one already where several processes are gathered."""
    return state.cpu() if isinstance(state, Tensor) else torch.cat([torch.zeros(0), *(part.cpu() for part in state)])


def _eleven_points(hits: Tensor, num_objects: int) -> float:
    """``Long[n]`` true positives among the first 1, 2, ... n detections -> AP; recalls are compared in integers."""
    if not len(hits):
        return 0.0
    precision = hits.double() / torch.arange(1, len(hits) + 1)
    best = precision.flip(0).cummax(0).values.flip(0)
    # hits / num_objects >= i / 10 without the rounding error of 0.1 * i
    starts = torch.searchsorted(10 * hits, torch.arange(11) * num_objects)
    return float(best[starts[starts < len(hits)]].sum() / 11)


def _area(hits: Tensor, num_objects: int) -> float:
    """The same for the area: every true positive adds 1 / G of recall, at the best precision from there on."""
    if not len(hits):
        return 0.0
    precision = hits.double() / torch.arange(1, len(hits) + 1)
    best = precision.flip(0).cummax(0).values.flip(0)
    gained = hits.diff(prepend=hits.new_zeros(1)) > 0
    return float(best[gained].sum() / num_objects)
