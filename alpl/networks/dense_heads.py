"""Heads of dense detectors: two towers of convolutions that all maps of a pyramid share.

They are torchvision's, with more to choose: focal loss, depth, norm and start of the towers, the code of boxes, and
dropout for MC-dropout.

Axes: B images, P anchors or points over all maps, K classes, F width of the maps, A anchors a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.models.detection._utils import BoxCoder, BoxLinearCoder
from torchvision.models.detection.fcos import FCOSClassificationHead, FCOSRegressionHead
from torchvision.models.detection.retinanet import RetinaNetClassificationHead, RetinaNetRegressionHead
from torchvision.ops import generalized_box_iou_loss

from alpl.errors import ConfigError
from alpl.losses.focal import BACKGROUND, focal_loss
from alpl.networks.towers import Towers


@final
class MatchedLosses(NamedTuple):
    """The losses of a dense detector, and what they are of; torchvision's networks pass it on as it is."""

    parts: dict[str, Tensor]
    """Scalars by the names of the outputs that they train."""
    per_image: Tensor
    """``Float[B]``: all parts of each image by itself, over its own positives; no gradients."""
    matched: Sequence[Tensor]
    """B of ``Long[P]``: the object of each anchor, or a code below 0 of one without."""


class DenseHeads(nn.Module):
    """What the heads of all dense detectors share.

    Args:
        classification_head: a head of torchvision with a tower ``conv``.
        regression_head: likewise.
        towers: their settings.
    """

    def __init__(self, classification_head: nn.Module, regression_head: nn.Module, towers: Towers) -> None:
        super().__init__()
        for head in (classification_head, regression_head):
            head.conv = towers.finish(head.conv)  # type: ignore[arg-type]
        self.classification_head, self.regression_head = classification_head, regression_head
        self.alpha, self.gamma = towers.focal_alpha, towers.focal_gamma

    def class_logits(self, maps: Sequence[Tensor]) -> Tensor:
        """``[B F h w]`` each -> ``Float[B P K]``."""
        logits: Tensor = self.classification_head(maps)
        return logits

    def class_tower(self, map_: Tensor) -> Tensor:
        """``Float[B F h w]`` -> the same: what the class logits are a convolution of."""
        features: Tensor = self.classification_head.conv(map_)  # type: ignore[operator]
        return features


@final
class RetinaNetHeads(DenseHeads):
    """Class logits and box deltas of every anchor (Lin et al. 2017).

    Args:
        width: F.
        num_anchors: A.
        num_classes: K.
        towers: see :class:`alpl.networks.towers.Towers`.
        box_weights: what offsets of x, y, w and h are multiplied by in the code of boxes; 1 as published.

    Raises:
        ConfigError: a number is out of range.
    """

    def __init__(
        self,
        width: int,
        num_anchors: int,
        num_classes: int,
        towers: Towers,
        box_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    ) -> None:
        if len(box_weights) != 4 or min(box_weights) <= 0:
            raise ConfigError(f"model.box_weights must be four numbers > 0, got {list(box_weights)}")
        norm = towers.norm(width)
        super().__init__(
            RetinaNetClassificationHead(width, num_anchors, num_classes, norm_layer=norm),
            RetinaNetRegressionHead(width, num_anchors, norm_layer=norm),
            towers,
        )
        self.box_coder = BoxCoder(weights=tuple(box_weights))
        self.regression_head.box_coder = self.box_coder

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Give "cls_logits" ``Float[B P K]`` and "bbox_regression" ``Float[B P 4]``."""
        return {"cls_logits": self.classification_head(maps), "bbox_regression": self.regression_head(maps)}

    def compute_loss(
        self,
        targets: Sequence[dict[str, Tensor]],
        outputs: dict[str, Tensor],
        anchors: Sequence[Tensor],
        matched: Sequence[Tensor],
    ) -> MatchedLosses:
        """Give the losses of matched anchors: each image's divided by its own positives, then the mean.

        Args:
            targets: B, each with "boxes" ``Float[n 4]`` and "labels" ``Long[n]``.
            outputs: see :meth:`forward`.
            anchors: B of ``Float[P 4]``.
            matched: B of ``Long[P]``: the object of each anchor, or -1 for background, -2 for neither.
        """
        classes = classes_of(targets, matched)
        positives = (classes >= 0).sum(1).clamp(min=1)
        sums = focal_loss(outputs["cls_logits"], classes, alpha=self.alpha, gamma=self.gamma)
        classification = sums / positives
        boxes = self._box_losses(targets, outputs["bbox_regression"], anchors, matched)
        parts = {"classification": classification.mean(), "bbox_regression": sum(boxes[1:], boxes[0]) / len(boxes)}
        return MatchedLosses(parts, (classification + torch.stack(boxes)).detach(), matched)

    def _box_losses(
        self,
        targets: Sequence[dict[str, Tensor]],
        deltas: Tensor,
        anchors: Sequence[Tensor],
        matched: Sequence[Tensor],
    ) -> list[Tensor]:
        """Give B scalars; torchvision's own mean of them hides which image has which."""
        ask = self.regression_head.compute_loss
        images = zip(targets, deltas.split(1), anchors, matched, strict=True)
        return [ask([one], {"bbox_regression": of_one}, [at], [match]) for one, of_one, at, match in images]  # type: ignore[operator]


@final
class FcosHeads(DenseHeads):
    """Class logits, distances to the sides of a box, and centerness of every point (Tian et al. 2019).

    Centerness stands on the tower of the distances (their follow-up of 2020, and torchvision).

    Args:
        width: F.
        num_classes: K.
        towers: see :class:`alpl.networks.towers.Towers`.

    Raises:
        ConfigError: a number is out of range.
    """

    def __init__(self, width: int, num_classes: int, towers: Towers) -> None:
        norm = towers.norm(width) or nn.Identity
        super().__init__(
            FCOSClassificationHead(width, 1, num_classes, norm_layer=norm),
            FCOSRegressionHead(width, 1, norm_layer=norm),
            towers,
        )
        self.box_coder = BoxLinearCoder(normalize_by_size=True)

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Give "cls_logits" ``Float[B P K]``, "bbox_regression" ``Float[B P 4]``, "confidence" ``Float[B P 1]``."""
        deltas, centerness = self.regression_head(maps)
        return {
            "cls_logits": self.classification_head(maps),
            "bbox_regression": deltas,
            "confidence": centerness,
        }

    def compute_loss(
        self,
        targets: Sequence[dict[str, Tensor]],
        outputs: dict[str, Tensor],
        anchors: Sequence[Tensor],
        matched: Sequence[Tensor],
    ) -> MatchedLosses:
        """Give focal, generalized IoU and centerness loss, each divided by the positives of the whole batch.

        Boxes are decoded at the positives only: the others cost nothing. See :meth:`RetinaNetHeads.compute_loss`.
        """
        classes = classes_of(targets, matched)
        row, point = (classes >= 0).nonzero(as_tuple=True)
        number = max(1, len(row))
        classification = focal_loss(outputs["cls_logits"], classes, alpha=self.alpha, gamma=self.gamma)
        pairs = zip(targets, matched, strict=True)
        boxes = torch.cat([target["boxes"][match[match >= 0]] for target, match in pairs])
        points = torch.stack(list(anchors))[row, point]
        predicted = self.box_coder.decode(outputs["bbox_regression"][row, point], points)
        distance = generalized_box_iou_loss(predicted, boxes)
        left, top, right, bottom = self.box_coder.encode(points, boxes).unbind(-1)
        aim = centerness_of(left, top, right, bottom)
        centerness = binary_cross_entropy_with_logits(outputs["confidence"][row, point, 0], aim, reduction="none")
        parts = {
            "classification": classification.sum() / number,
            "bbox_regression": distance.sum() / number,
            "bbox_ctrness": centerness.sum() / number,
        }
        of_images = classification.detach().index_add(0, row, (distance + centerness).detach())
        return MatchedLosses(parts, of_images / (classes >= 0).sum(1).clamp(min=1), matched)


def centerness_of(left: Tensor, top: Tensor, right: Tensor, bottom: Tensor) -> Tensor:
    r"""Give how central a point is in its box (Tian et al. 2019, Eq. 3), from its distances to the sides.

    .. math:: \sqrt{\frac{\min(l, r)}{\max(l, r)} \cdot \frac{\min(t, b)}{\max(t, b)}}

    >>> centerness_of(*torch.tensor([1.0, 2.0, 4.0, 2.0]))
    tensor(0.5000)
    """
    wide = torch.minimum(left, right) / torch.maximum(left, right)
    high = torch.minimum(top, bottom) / torch.maximum(top, bottom)
    return (wide * high).sqrt()


def classes_of(targets: Sequence[dict[str, Tensor]], matched: Sequence[Tensor]) -> Tensor:
    """``Long[B P]``: the class of each anchor's object, or the code below 0 of one without."""
    pairs = zip(targets, matched, strict=True)
    return torch.stack([_classes_of_image(target["labels"], match) for target, match in pairs])


def _classes_of_image(labels: Tensor, matched: Tensor) -> Tensor:
    """``Long[n]``, ``Long[P]`` objects or codes below 0 -> ``Long[P]`` classes or the same codes."""
    if not len(labels):
        return torch.full_like(matched, BACKGROUND)
    return torch.where(matched >= 0, labels[matched.clamp(min=0)], matched)
