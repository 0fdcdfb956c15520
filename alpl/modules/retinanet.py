"""RetinaNet (Lin et al. 2017, "Focal loss for dense object detection")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

from torch import Tensor
from torchvision.models.detection import RetinaNet

from alpl.boxes.anchors import anchor_generator
from alpl.errors import ConfigError
from alpl.modules.dense import AbstractDenseDetector
from alpl.modules.dense_output import DenseOutput
from alpl.networks.dense_heads import MatchedLosses, RetinaNetHeads
from alpl.networks.fpn import AbstractFpn
from alpl.networks.towers import Towers


@final
class RetinaNetDetector(AbstractDenseDetector):
    """torchvision's RetinaNet; see the base class.

    Losses are those of torchvision: each image's divided by its own positive anchors, then the mean over images
    (mmdetection, which PPAL builds on, divides by the positives of the images of one GPU, without any reduction over
    GPUs; PPAL has one image a GPU, which is the same).

    Args:
        backbone: makes the backbone with its pyramid.
        num_classes: K.
        towers: of the heads, and their focal loss.
        anchor_sizes: of each map, in pixels of the input; as many for every map.
        aspect_ratios: height to width; A anchors a cell are all sizes of all ratios.
        fg_iou_thresh: an anchor with this IoU or more is an object's; so is an object's best anchor, whatever its IoU.
        bg_iou_thresh: one below is background; between both it counts for nothing.
        box_weights: of the code of boxes, see :class:`alpl.networks.dense_heads.RetinaNetHeads`.
        options: num_passes, feature_level, feature_source, see :class:`alpl.modules.dense.AbstractDenseDetector`;
            metric, evaluation, acquisition, optimizer, scheduler, scheduler_interval.

    Raises:
        ConfigError: a number is out of range, or the anchors do not fit the maps.
    """

    loss_names = {"classification": "classification_loss", "bbox_regression": "localization_loss"}  # noqa: RUF012

    def __init__(
        self,
        backbone: Callable[[], AbstractFpn],
        num_classes: int,
        *,
        towers: Towers,
        anchor_sizes: Sequence[Sequence[float]],
        aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        fg_iou_thresh: float = 0.5,
        bg_iou_thresh: float = 0.4,
        box_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        **options: Any,
    ) -> None:
        if not 0 < bg_iou_thresh <= fg_iou_thresh <= 1:
            raise ConfigError(
                f"model.bg_iou_thresh must be in 0 to model.fg_iou_thresh, got {bg_iou_thresh} and {fg_iou_thresh}"
            )
        body = backbone()
        anchors = anchor_generator(anchor_sizes, aspect_ratios, body.num_maps)
        num_anchors = anchors.num_anchors_per_location()[0]
        heads = RetinaNetHeads(body.out_channels, num_anchors, num_classes, towers, box_weights)
        limits = {"fg_iou_thresh": fg_iou_thresh, "bg_iou_thresh": bg_iou_thresh}
        network = RetinaNet(body, num_classes, anchor_generator=anchors, head=heads, **limits)
        super().__init__(network, num_classes, **options)

    def decode(self, deltas: Tensor, anchors: Tensor) -> Tensor:
        """See the base class: offsets of the center in units of the anchor, logarithms of the sides."""
        boxes: Tensor = self.network.head.box_coder.decode_single(deltas, anchors)
        return boxes

    def compute_losses(self, output: DenseOutput, targets: list[dict[str, Tensor]]) -> MatchedLosses:
        """See the base class."""
        heads = {"cls_logits": output.logits, "bbox_regression": output.deltas}
        losses: MatchedLosses = self.network.compute_loss(targets, heads, [output.anchors] * len(targets))
        return losses
