"""Average precision as COCO defines it (Lin et al. 2014), by torchmetrics and faster-coco-eval.

Axes: B images of a batch, K foreground classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.detection import MeanAveragePrecision

from alpl.boxes.objects import Objects
from alpl.errors import ConfigError
from alpl.metrics.voc_ap import ImageDetections, check_batch, joined

# as pycocotools makes them; torchmetrics' own are rounded to float32
_IOU_THRESHS: list[float] = np.linspace(0.5, 0.95, 10).tolist()
_RECALLS: list[float] = np.linspace(0.0, 1.0, 101).tolist()


@final
class COCOAveragePrecision(Metric):
    """Mean average precision over images, batches and processes.

    Over overlaps 0.50, 0.55, ... 0.95, at 101 recalls, of the 100 detections of highest score of an image; a detection
    on a difficult object (COCO's crowd) is neither right nor wrong. torchmetrics does the work; its own states wait for
    each other forever where one process has an image more than another, so that here they are flat tensors.

    Args:
        num_classes: K.

    Raises:
        ConfigError: there is no class.
    """

    full_state_update = True  # forward() may not merge states: image numbers go on from batch to batch
    is_differentiable = False
    higher_is_better = True

    found: list[Tensor]
    truth: list[Tensor]
    images: list[Tensor]
    num_images: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        if num_classes < 1:
            raise ConfigError(f"num_classes must be >= 1, got {num_classes}")
        self.num_classes = num_classes
        # Float32[n] without exception: that is what a process without an image sends when states are gathered
        for name in ("found", "truth", "images"):
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self.add_state("num_images", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, detections: Sequence[ImageDetections], targets: Sequence[Objects]) -> None:
        """Keep the detections of B images, one of each an image.

        Raises:
            ValueError: shapes or types do not belong together, a label is no class, or a number is not finite.
        """
        check_batch(detections, targets, self.num_classes)
        for found, objects in zip(detections, targets, strict=True):
            self.found.append(self._flat(found["boxes"], found["labels"], found["scores"]))
            self.truth.append(self._flat(objects.boxes, objects.labels, objects.difficult))
            sizes = [int(self.num_images), len(found["labels"]), len(objects)]
            self.images.append(torch.tensor(sizes, dtype=torch.float32, device=self.device))
            self.num_images += 1

    def compute(self) -> dict[str, Any]:
        """Give ``map``, ``map50`` and ``map75``, floats in [0, 1], and ``per_class``, ``Float64[K]``.

        A class without an object that counts is NaN, and not in the means; all are NaN if that is all of them.
        ``per_class`` is a numpy array, since torchmetrics would make a number of a tensor where K = 1.
        """
        precision = self._precision()
        per_class = [_mean(precision[:, :, label]) for label in range(self.num_classes)]
        return {
            "map": _mean(precision),
            "map50": _mean(precision[_IOU_THRESHS.index(0.5)]),
            "map75": _mean(precision[_IOU_THRESHS.index(0.75)]),
            "per_class": np.array(per_class),
        }

    def _precision(self) -> Tensor:
        """``Float64[10 101 K]``: precision at every overlap, recall and class; NaN where a class has no object."""
        precision = torch.full((len(_IOU_THRESHS), len(_RECALLS), self.num_classes), float("nan"), dtype=torch.float64)
        detections, targets = self._images()
        if not any(len(image["labels"]) for image in targets):
            return precision
        metric = MeanAveragePrecision(
            iou_thresholds=_IOU_THRESHS,
            rec_thresholds=_RECALLS,
            extended_summary=True,
            backend="faster_coco_eval",
            sync_on_compute=False,
        )
        metric.warn_on_many_detections = False  # the limit of 100 is part of the definition
        metric.update(detections, targets)
        results = metric.compute()
        found = results["precision"][:, :, :, 0, -1].double()  # objects of every area, up to 100 detections
        precision[:, :, results["classes"].long().flatten()] = found.where(found >= 0, float("nan"))  # -1 is COCO's NaN
        return precision

    def _images(self) -> tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]:
        """What torchmetrics asks for, in the order of the images also where they came from several processes."""
        numbers, num_found, num_truth = joined(self.images).long().view(-1, 3).unbind(1)
        found = joined(self.found).view(-1, 6).split(num_found.tolist())
        truth = joined(self.truth).view(-1, 6).split(num_truth.tolist())
        order = torch.argsort(numbers, stable=True).tolist()
        detections, targets = [], []
        for boxes, labels, scores in (found[image].split([4, 1, 1], 1) for image in order):
            detections.append({"boxes": boxes, "labels": labels.flatten().long(), "scores": scores.flatten()})
        for boxes, labels, crowd in (truth[image].split([4, 1, 1], 1) for image in order):
            targets.append({"boxes": boxes, "labels": labels.flatten().long(), "iscrowd": crowd.flatten().long()})
        return detections, targets

    def _flat(self, boxes: Tensor, labels: Tensor, values: Tensor) -> Tensor:
        """``Float32[6 n]``."""
        columns = (boxes.detach().float(), labels[:, None].float(), values.detach()[:, None].float())
        return torch.cat(columns, 1).flatten().to(self.device)


def _mean(precision: Tensor) -> float:
    """Mean over the entries that are there."""
    return float(precision.nanmean())
