"""FCOS (Tian et al. 2019, "FCOS: Fully convolutional one-stage object detection")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

from torch import Tensor
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator

from alpl.errors import ConfigError
from alpl.modules.dense import AbstractDenseDetector
from alpl.modules.dense_output import DenseOutput
from alpl.networks.dense_heads import FcosHeads, MatchedLosses
from alpl.networks.fpn import AbstractFpn
from alpl.networks.towers import Towers


@final
class FcosDetector(AbstractDenseDetector):
    """torchvision's FCOS, with center sampling, generalized IoU loss, and centerness on the box tower.

    The posterior is that of the classes alone, K independent probabilities. ``scores``, by which detections are chosen
    and ranked, is the geometric mean of a class's probability and the centerness.

    Args:
        backbone: makes the backbone with its pyramid.
        num_classes: K.
        towers: of the heads, and their focal loss.
        strides: pixels from cell to cell, one a map; a map is responsible for objects of 4 to 8 strides from a point
            to the farthest side of the box, the first for smaller ones too, the last for larger ones.
        center_radius: points of an object lie within so many strides of its center.
        options: see :class:`alpl.modules.retinanet.RetinaNetDetector`.

    Raises:
        ConfigError: a number is out of range, or the strides do not fit the maps.
    """

    loss_names = {  # noqa: RUF012
        "classification": "classification_loss",
        "bbox_regression": "localization_loss",
        "bbox_ctrness": "centerness_loss",
    }

    def __init__(
        self,
        backbone: Callable[[], AbstractFpn],
        num_classes: int,
        *,
        towers: Towers,
        strides: Sequence[int] = (8, 16, 32, 64, 128),
        center_radius: float = 1.5,
        **options: Any,
    ) -> None:
        if center_radius <= 0:
            raise ConfigError(f"model.center_radius must be > 0, got {center_radius}")
        body = backbone()
        if len(strides) != body.num_maps or min(strides) < 1:
            raise ConfigError(f"model.strides must be {body.num_maps} numbers >= 1, one a map, got {list(strides)}")
        heads = FcosHeads(body.out_channels, num_classes, towers)
        anchors = AnchorGenerator(tuple((stride,) for stride in strides), ((1.0,),) * len(strides))
        network = FCOS(body, num_classes, anchor_generator=anchors, head=heads, center_sampling_radius=center_radius)
        super().__init__(network, num_classes, **options)

    def decode(self, deltas: Tensor, anchors: Tensor) -> Tensor:
        """See the base class: distances from the point to the four sides, in strides."""
        boxes: Tensor = self.network.box_coder.decode(deltas, anchors)
        return boxes

    def compute_losses(self, output: DenseOutput, targets: list[dict[str, Tensor]]) -> MatchedLosses:
        """See the base class."""
        assert output.confidence is not None, "the heads of FCOS give it"
        heads = {"cls_logits": output.logits, "bbox_regression": output.deltas, "confidence": output.confidence}
        anchors = [output.anchors] * len(targets)
        losses: MatchedLosses = self.network.compute_loss(targets, heads, anchors, output.lengths)
        return losses
