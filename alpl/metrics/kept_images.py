"""Base of metrics that need all images at once.

Axes: B images of a batch, K foreground classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from alpl.boxes.objects import Objects
from alpl.errors import ConfigError
from alpl.metrics.voc_ap import ImageDetections, check_batch, joined


class KeptImage(NamedTuple):
    """What was found on an image, and what is there."""

    found: dict[str, Tensor]
    truth: Objects


class AbstractKeptImages(Metric):
    """Keeps detections and objects over images, batches and processes.

    Lists of an entry an image wait for each other forever where one process has an image more than another, so that
    the states are flat tensors.

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
            self.truth.append(self._flat(objects.boxes, objects.labels, objects.difficult, objects.levels))
            sizes = [int(self.num_images), len(found["labels"]), len(objects)]
            self.images.append(torch.tensor(sizes, dtype=torch.float32, device=self.device))
            self.num_images += 1

    @abstractmethod
    def compute(self) -> dict[str, Any]:
        """Give ``map`` and other floats in [0, 1], and ``per_class``, a numpy array of K."""

    def kept(self) -> list[KeptImage]:
        """Give all images on the CPU, in their order also where they came from several processes."""
        numbers, num_found, num_truth = joined(self.images).long().view(-1, 3).unbind(1)
        found = joined(self.found).view(-1, 6).split(num_found.tolist())
        truth = joined(self.truth).view(-1, 7).split(num_truth.tolist())
        order = torch.argsort(numbers, stable=True).tolist()
        return [KeptImage(_found(found[image]), _truth(truth[image])) for image in order]

    def _flat(self, boxes: Tensor, *columns: Tensor) -> Tensor:
        """``Float32[n (4 + columns)]``."""
        rows = (boxes.detach().float(), *(each.detach()[:, None].float() for each in columns))
        return torch.cat(rows, 1).flatten().to(self.device)


def _found(rows: Tensor) -> dict[str, Tensor]:
    boxes, labels, scores = rows.split([4, 1, 1], 1)
    return {"boxes": boxes, "labels": labels.flatten().long(), "scores": scores.flatten()}


def _truth(rows: Tensor) -> Objects:
    boxes, labels, difficult, levels = rows.split([4, 1, 1, 1], 1)
    return Objects(boxes, labels.flatten().long(), difficult.flatten().bool(), levels.flatten().to(torch.uint8))
