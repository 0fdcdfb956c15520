"""What a training step tells beside its loss: the parts of it, and the predicted boxes that were trained on objects.

Axes: B images that were asked about, n positives (anchors, points, priors or proposals with an object) of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypedDict, final

import torch
from torch import Tensor

from alpl.boxes.iou_matching import iou


@final
class Positives(NamedTuple):
    """How well a model predicts what it is trained on; without gradients."""

    row: Tensor
    """``Long[n]``, of which of the B images."""
    labels: Tensor
    """``Long[n]`` classes of the objects, 0 is the first foreground class."""
    probs: Tensor
    """``Float32[n]``, the probability of that class."""
    ious: Tensor
    """``Float32[n]``, of the predicted box and the object; 0 where neither has an area."""

    @classmethod
    @torch.no_grad()
    def of_boxes(cls, row: Tensor, labels: Tensor, probs: Tensor, boxes: Tensor, objects: Tensor) -> Positives:
        """Compare each predicted box with its object.

        Args:
            row: ``Long[n]``.
            labels: ``Long[n]``.
            probs: ``[n]``.
            boxes: ``[n 4]`` xyxy, predicted.
            objects: ``[n 4]`` xyxy, in the same units.
        """
        overlap = iou(boxes.detach().float(), objects.float()).nan_to_num(0.0)
        return cls(row, labels, probs.detach().float(), overlap)

    def of_images(self, chosen: Tensor) -> Positives:
        """``Bool[B]`` -> those of these images."""
        kept = chosen[self.row]
        return Positives(self.row[kept], self.labels[kept], self.probs[kept], self.ious[kept])


class Step(TypedDict):
    """What a detector's training step gives to Lightning, which hands it to the callbacks."""

    loss: Tensor
    positives: Positives | None
    """Of the labeled images alone; None where they were not wanted, or no image has a target."""


@final
class Losses(NamedTuple):
    """The losses of the images of a batch that have targets."""

    parts: dict[str, Tensor]
    """Scalars that carry gradients; their sum is trained on."""
    per_image: Tensor | None
    """``Float[B]``: what each image by itself has in them, without gradients; None where that is not known."""
    positives: Positives | None
    """None where they were not wanted."""
    maps: Sequence[Tensor] = ()
    """``[B channels H W]`` each: what a loss prediction module may look at; none where there is no such module."""

    def step(self, labeled: Tensor) -> Step:
        """Give their sum, and the positives of labeled images: what was pseudo-labeled need not be right.

        Args:
            labeled: ``Bool[B]``.
        """
        positives = None if self.positives is None else self.positives.of_images(labeled)
        return Step(loss=torch.stack(list(self.parts.values())).sum(), positives=positives)
