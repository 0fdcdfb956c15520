"""ATSS (Zhang et al. 2020, "Bridging the gap between anchor-based and anchor-free detection via adaptive training
sample selection"), and what DDOD has of it.

Axes: B images, P anchors over all maps, one a cell, K classes, n positives of the batch.
"""  # noqa: D205

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.ops import generalized_box_iou_loss

from alpl.boxes.anchors import anchor_generator
from alpl.errors import ConfigError
from alpl.losses.atss import atss_matches
from alpl.losses.focal import focal_loss
from alpl.machine.processes import over_processes
from alpl.modules.dense import AbstractDenseDetector
from alpl.modules.dense_output import DenseOutput
from alpl.networks.atss import AtssHeads, DenseNetwork
from alpl.networks.dense_heads import MatchedLosses, centerness_of, classes_of
from alpl.networks.fpn import AbstractFpn
from alpl.networks.towers import Towers

BOX_WEIGHT = 2.0
"""Of the loss of boxes, as released by both."""


class AbstractAtssDetector(AbstractDenseDetector):
    """Base of ATSS and DDOD: one square anchor a cell, classes on one tower, boxes and a confidence on the other.

    The posterior is that of the classes alone, K independent probabilities. ``scores``, by which detections are ranked,
    is a class's probability times the confidence; thresholds of a suppression are of the probability.

    Args:
        backbone: makes the backbone with its pyramid.
        num_classes: K.
        towers: of the heads, and their focal loss.
        anchor_sizes: of each map, in pixels of the input; 8 cells as published.
        topk: candidates of an object on each map.
        options: see :class:`alpl.modules.retinanet.RetinaNetDetector`.

    Raises:
        ConfigError: a number is out of range, or the anchors do not fit the maps.
    """

    scoring = "product"
    deformable: ClassVar[bool] = False
    """Whether the towers begin with a deformable convolution."""

    def __init__(
        self,
        backbone: Callable[[], AbstractFpn],
        num_classes: int,
        *,
        towers: Towers,
        anchor_sizes: Sequence[float] = (64, 128, 256, 512, 1024),
        topk: int = 9,
        **options: Any,
    ) -> None:
        if topk < 1:
            raise ConfigError(f"model.topk must be >= 1, got {topk}")
        body = backbone()
        anchors = anchor_generator([[size] for size in anchor_sizes], [1.0], body.num_maps)
        heads = AtssHeads(body.out_channels, num_classes, body.num_maps, towers, deformable=self.deformable)
        super().__init__(DenseNetwork(body, heads, anchors), num_classes, **options)
        self.topk = topk

    @final
    def decode(self, deltas: Tensor, anchors: Tensor) -> Tensor:
        """See the base class: offsets of the center in units of the anchor, logarithms of the sides."""
        boxes: Tensor = self.network.head.box_coder.decode_single(deltas, anchors)
        return boxes

    @final
    def learned_boxes(
        self, output: DenseOutput, targets: Sequence[dict[str, Tensor]], matched: Sequence[Tensor]
    ) -> LearnedBoxes:
        """Give the anchors with an object; boxes are decoded there alone.

        Args:
            output: of B images.
            targets: B, each with "boxes" ``Float[n 4]``.
            matched: B of ``Long[P]``.
        """
        assert output.confidence is not None, "the heads give it"
        row, anchor = (torch.stack(list(matched)) >= 0).nonzero(as_tuple=True)
        pairs = zip(targets, matched, strict=True)
        objects = torch.cat([target["boxes"][match[match >= 0]] for target, match in pairs])
        predicted = self.decode(output.deltas[row, anchor], output.anchors[anchor])
        return LearnedBoxes(row, anchor, predicted, objects, output.confidence[row, anchor, 0])


@final
class LearnedBoxes(NamedTuple):
    """The anchors of a batch that learn a box."""

    row: Tensor
    """``Long[n]``, of which of the B images."""
    anchor: Tensor
    """``Long[n]``, which of the P."""
    predicted: Tensor
    """``Float[n 4]`` xyxy."""
    objects: Tensor
    """``Float[n 4]`` xyxy."""
    confidence: Tensor
    """``Float[n]`` logits."""

    def distance(self) -> Tensor:
        """``Float[n]``: generalized IoU losses."""
        losses: Tensor = generalized_box_iou_loss(self.predicted, self.objects)
        return losses

    def doubt(self, aim: Tensor) -> Tensor:
        """``Float[n]``: what the confidence misses of ``Float[n]`` in [0, 1], as binary cross entropies."""
        return binary_cross_entropy_with_logits(self.confidence, aim, reduction="none")

    def of_images(self, values: Tensor, number: int) -> Tensor:
        """``Float[n]`` -> ``Float[B]``: sums, of ``number`` images."""
        return values.new_zeros(number).index_add(0, self.row, values)


@final
class AtssDetector(AbstractAtssDetector):
    r"""Anchors learn by a threshold of each object's own, see :func:`alpl.losses.atss.atss_matches`.

    The loss is, over the batches of all processes,

    .. math:: \frac{1}{N} \sum FL + \frac{2}{\sum c} \sum c \, (1 - GIoU) + \frac{1}{N} \sum BCE(\hat c, c)

    with N positives and their centerness c, that of the anchor's center in its object. Each denominator is its mean
    over processes, at least 1.
    """

    loss_names = {  # noqa: RUF012
        "classification": "classification_loss",
        "bbox_regression": "localization_loss",
        "centerness": "centerness_loss",
    }

    def compute_losses(self, output: DenseOutput, targets: list[dict[str, Tensor]]) -> MatchedLosses:
        """See the base class."""
        matched = [atss_matches(output.anchors, output.lengths, each["boxes"], self.topk) for each in targets]
        head, found = self.network.head, self.learned_boxes(output, targets, matched)
        classes = classes_of(targets, matched)
        focal = focal_loss(output.logits, classes, alpha=head.alpha, gamma=head.gamma)
        centers = (output.anchors[found.anchor, :2] + output.anchors[found.anchor, 2:]) / 2
        sides = torch.cat([centers - found.objects[:, :2], found.objects[:, 2:] - centers], 1)
        aim = centerness_of(*sides.unbind(1))
        distance, doubt = aim * found.distance(), found.doubt(aim)
        number, weight = self._means(torch.stack([aim.new_tensor(len(aim)), aim.sum()]))
        parts = {
            "classification": focal.sum() / number,
            "bbox_regression": BOX_WEIGHT * distance.sum() / weight,
            "centerness": doubt.sum() / number,
        }
        numbers = (classes >= 0).sum(1).clamp(min=1)
        weights = found.of_images(aim, len(targets)).clamp(min=1)
        boxes = BOX_WEIGHT * found.of_images(distance, len(targets)) / weights
        per_image = (focal + found.of_images(doubt, len(targets))) / numbers + boxes
        return MatchedLosses(parts, per_image.detach(), matched)

    def join_without_targets(self) -> None:
        """See the base class."""
        self._means(torch.zeros(2, device=self.device))

    def _means(self, sums: Tensor) -> Tensor:
        """``Float[2]``, at least 1 each."""
        total, number = over_processes(sums)
        return (total / number).clamp(min=1)
