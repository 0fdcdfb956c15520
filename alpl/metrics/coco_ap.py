"""Average precision as COCO defines it (Lin et al. 2014), by torchmetrics and faster-coco-eval.

Axes: B images of a batch, K foreground classes.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from alpl.boxes.objects import NO_CLASS, Objects
from alpl.metrics.kept_images import AbstractKeptImages

# as pycocotools makes them; torchmetrics' own are rounded to float32
_IOU_THRESHS: list[float] = np.linspace(0.5, 0.95, 10).tolist()
_RECALLS: list[float] = np.linspace(0.0, 1.0, 101).tolist()


@final
class COCOAveragePrecision(AbstractKeptImages):
    """Mean average precision over images, batches and processes.

    Over overlaps 0.50, 0.55, ... 0.95, at 101 recalls, of the 100 detections of highest score of an image; a detection
    on a difficult object (COCO's crowd), or in a region to be ignored, is neither right nor wrong. torchmetrics does
    the work.

    Args:
        num_classes: K.

    Raises:
        ConfigError: there is no class.
    """

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
        """What torchmetrics asks for."""
        images = self.kept()
        return [image.found for image in images], [self._asked_for(image.truth) for image in images]

    def _asked_for(self, truth: Objects) -> dict[str, Tensor]:
        """Objects, and the difficult ones as crowds; a region to be ignored is a crowd of every class."""
        regions = truth.boxes[truth.labels == NO_CLASS]
        objects = truth[truth.labels != NO_CLASS]
        classes = torch.arange(self.num_classes).repeat_interleave(len(regions))
        return {
            "boxes": torch.cat([objects.boxes, regions.repeat(self.num_classes, 1)]),
            "labels": torch.cat([objects.labels, classes]),
            "iscrowd": torch.cat([objects.difficult.long(), torch.ones_like(classes)]),
        }


def _mean(precision: Tensor) -> float:
    """Mean over the entries that are there."""
    return float(precision.nanmean())
