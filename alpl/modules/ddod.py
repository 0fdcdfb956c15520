"""DDOD (Chen et al. 2021, "Disentangle your dense object detector").

Axes: B images, P anchors over all maps, L maps, K classes, n positives of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor

from alpl.boxes.iou_matching import iou
from alpl.errors import ConfigError
from alpl.losses.atss import level_weights, quality_matches
from alpl.losses.focal import focal_loss
from alpl.machine.processes import over_processes
from alpl.modules.atss import BOX_WEIGHT, AbstractAtssDetector
from alpl.modules.dense_output import DenseOutput
from alpl.networks.dense_heads import MatchedLosses, classes_of


@final
class DdodDetector(AbstractAtssDetector):
    r"""ATSS with matches of predictions, apart for classes and boxes, deformable towers, and maps that are weighed.

    Its four differences: anchors are matched by :func:`alpl.losses.atss.quality_matches`, once for the classes and once
    for boxes and confidence; the towers begin with a deformable convolution; the confidence is of the IoU of the
    predicted box; and each map's losses are weighed by :func:`alpl.losses.atss.level_weights`, of the positives of both
    matchings in this training so far, which checkpoints keep (:attr:`positives_seen`). The loss is

    .. math:: \frac{1}{N_c} \sum w_c FL + \frac{1}{N_b} \sum w_b \, (2 (1 - GIoU) + BCE(\hat u, u))

    with N positives of each matching (their mean over processes, at least 1), their maps' weights w and IoUs u.

    Args:
        class_alpha: of the quality of a match for the classes: the share of the IoU; 0.8 as released.
        box_alpha: of that for boxes; 0.5 as released.
        options: backbone, num_classes, towers, and others, see :class:`alpl.modules.atss.AbstractAtssDetector`.

    Raises:
        ConfigError: a number is out of range, or the anchors do not fit the maps.
    """

    loss_names = {  # noqa: RUF012
        "classification": "classification_loss",
        "bbox_regression": "localization_loss",
        "iou": "iou_loss",
    }
    deformable = True

    positives_seen: Tensor
    """``Long[2 L]``: for classes and for boxes, on each map, of all processes."""

    def __init__(self, *arguments: Any, class_alpha: float = 0.8, box_alpha: float = 0.5, **options: Any) -> None:
        for name, value in (("class_alpha", class_alpha), ("box_alpha", box_alpha)):
            if not 0 <= value <= 1:
                raise ConfigError(f"model.{name} must be in [0, 1], got {value}")
        super().__init__(*arguments, **options)
        self.alphas = (class_alpha, box_alpha)
        shape = (2, self.network.backbone.num_maps)
        self.register_buffer("positives_seen", torch.zeros(shape, dtype=torch.long))

    def on_train_start(self) -> None:
        """Begin a fit with none seen, also from the last cycle's weights; a fit that is resumed has its own."""
        super().on_train_start()
        if not self.trainer.global_step:
            self.positives_seen.zero_()

    def compute_losses(self, output: DenseOutput, targets: list[dict[str, Tensor]]) -> MatchedLosses:
        """See the base class; the positives are those of the classes."""
        matched = [self._matches(output, row, target) for row, target in enumerate(targets)]
        for_classes, for_boxes = (list(each) for each in zip(*matched, strict=True))
        numbers = self._count(torch.stack([_on_maps(each, output.lengths) for each in (for_classes, for_boxes)]))
        of_classes, of_boxes = level_weights(self.positives_seen)
        classes, found = classes_of(targets, for_classes), self.learned_boxes(output, targets, for_boxes)
        focal = self._focal(output, classes, of_classes)
        weights = of_boxes.repeat_interleave(torch.tensor(output.lengths, device=of_boxes.device))[found.anchor]
        aim = iou(found.predicted.detach(), found.objects).nan_to_num(0.0)
        distance, doubt = BOX_WEIGHT * weights * found.distance(), weights * found.doubt(aim)
        parts = {
            "classification": focal.sum() / numbers[0],
            "bbox_regression": distance.sum() / numbers[1],
            "iou": doubt.sum() / numbers[1],
        }
        own = [(torch.stack(each) >= 0).sum(1).clamp(min=1) for each in (for_classes, for_boxes)]
        per_image = focal / own[0] + found.of_images(distance + doubt, len(targets)) / own[1]
        return MatchedLosses(parts, per_image.detach(), for_classes)

    def join_without_targets(self) -> None:
        """See the base class."""
        self._count(torch.zeros_like(self.positives_seen))

    @torch.no_grad()
    def _matches(self, output: DenseOutput, row: int, target: dict[str, Tensor]) -> list[Tensor]:
        """Two of ``Long[P]``: for the classes, for boxes."""
        probs = output.logits[row][:, target["labels"]].sigmoid()
        predicted = self.decode(output.deltas[row], output.anchors)
        place = (output.anchors, output.lengths, target["boxes"])
        return quality_matches(*place, probs, predicted, alphas=self.alphas, topk=self.topk)

    def _focal(self, output: DenseOutput, classes: Tensor, weights: Tensor) -> Tensor:
        """``Float[B]``: sums over the maps, each with its weight."""
        head = self.network.head
        maps = zip(output.logits.split(output.lengths, 1), classes.split(output.lengths, 1), strict=True)
        losses = [focal_loss(logits, aims, alpha=head.alpha, gamma=head.gamma) for logits, aims in maps]
        return (torch.stack(losses, 1) * weights).sum(1)

    def _count(self, positives: Tensor) -> Tensor:
        """``Long[2 L]`` of this step and process -> ``Float[2]``: means over processes, at least 1.

        While it is trained, they count for the weights of the maps from this step on.
        """
        total, number = over_processes(positives)
        if self.training:
            self.positives_seen += total
        return (total.sum(1) / number).clamp(min=1)


def _on_maps(matched: Sequence[Tensor], lengths: Sequence[int]) -> Tensor:
    """B of ``Long[P]`` -> ``Long[L]``: positives of each map."""
    return torch.stack([part.sum() for part in (torch.stack(list(matched)) >= 0).split(list(lengths), 1)])
