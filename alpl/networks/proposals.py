"""Region proposals (Ren et al. 2015): torchvision's parts, asked in float32 whatever the precision of the pass.

Axes: B images, P anchors over all maps of a pyramid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers

from alpl.boxes.anchors import anchors_of
from alpl.errors import ConfigError


@final
@dataclass(frozen=True)
class ProposalRules:
    """How proposals are chosen, and how their network is trained; by default as torchvision has it.

    Args:
        pre_nms_top_n_train: proposals of a map that enter the suppression, in training.
        pre_nms_top_n_test: the same in evaluation.
        post_nms_top_n_train: proposals of an image, in training.
        post_nms_top_n_test: the same in evaluation.
        nms_thresh: a proposal is dropped where its IoU with a better one of its map is above it.
        fg_iou_thresh: an anchor with this IoU or more is an object's; so is an object's best anchor, whatever its IoU.
        bg_iou_thresh: one below is background; between both it counts for nothing.
        batch_size_per_image: anchors of an image that the loss is of.
        positive_fraction: of them, at most, that are objects'.

    Raises:
        ConfigError: a value is out of range.
    """

    pre_nms_top_n_train: int = 2000
    pre_nms_top_n_test: int = 1000
    post_nms_top_n_train: int = 2000
    post_nms_top_n_test: int = 1000
    nms_thresh: float = 0.7
    fg_iou_thresh: float = 0.7
    bg_iou_thresh: float = 0.3
    batch_size_per_image: int = 256
    positive_fraction: float = 0.5

    def __post_init__(self) -> None:
        for name in ("pre_nms_top_n_train", "pre_nms_top_n_test", "post_nms_top_n_train", "post_nms_top_n_test"):
            if getattr(self, name) < 1:
                raise ConfigError(f"proposals.{name} must be >= 1, got {getattr(self, name)}")
        if not 0 <= self.nms_thresh <= 1:
            raise ConfigError(f"proposals.nms_thresh must be in [0, 1], got {self.nms_thresh}")
        check_sampling(self, "proposals")

    def network(self, width: int, anchors: AnchorGenerator) -> RegionProposalNetwork:
        """Make the network for maps of this width."""
        return RegionProposalNetwork(
            anchors,
            RPNHead(width, anchors.num_anchors_per_location()[0]),
            self.fg_iou_thresh,
            self.bg_iou_thresh,
            self.batch_size_per_image,
            self.positive_fraction,
            {"training": self.pre_nms_top_n_train, "testing": self.pre_nms_top_n_test},
            {"training": self.post_nms_top_n_train, "testing": self.post_nms_top_n_test},
            self.nms_thresh,
        )


@final
@dataclass(frozen=True)
class RegionSampling:
    """Which proposals the second stage is trained on; by default as torchvision has it.

    Args:
        fg_iou_thresh: a proposal with this IoU or more is an object's.
        bg_iou_thresh: one below is background; between both it counts for nothing.
        batch_size_per_image: proposals of an image that the loss is of.
        positive_fraction: of them, at most, that are objects'.

    Raises:
        ConfigError: a value is out of range.
    """

    fg_iou_thresh: float = 0.5
    bg_iou_thresh: float = 0.5
    batch_size_per_image: int = 512
    positive_fraction: float = 0.25

    def __post_init__(self) -> None:
        check_sampling(self, "sampling")


def check_sampling(rules: ProposalRules | RegionSampling, name: str) -> None:
    """Refuse thresholds and sizes that are out of range.

    Raises:
        ConfigError: they are.
    """
    if not 0 <= rules.bg_iou_thresh <= rules.fg_iou_thresh <= 1:
        raise ConfigError(
            f"{name}.bg_iou_thresh and fg_iou_thresh must be 0 <= bg <= fg <= 1, "
            f"got {rules.bg_iou_thresh} and {rules.fg_iou_thresh}"
        )
    if rules.batch_size_per_image < 1 or not 0 < rules.positive_fraction <= 1:
        raise ConfigError(
            f"{name}.batch_size_per_image must be >= 1 and positive_fraction in (0, 1], "
            f"got {rules.batch_size_per_image} and {rules.positive_fraction}"
        )


def propose(
    rpn: RegionProposalNetwork, maps: Sequence[Tensor], images: ImageList, targets: list[dict[str, Tensor]] | None
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Do what the network's ``forward`` does, but in float32: bfloat16 cannot tell pixel 301 from pixel 302.

    Args:
        rpn: how many proposals it gives follows from its mode (training or evaluation).
        maps: ``[B width h w]`` each.
        images: the padded input, and the sizes of the images within it; proposals are clipped to them.
        targets: B, each with "boxes" ``Float[n 4]``; None for no loss.

    Returns:
        B of ``Float[n 4]`` proposals, best first, and the losses "loss_objectness" and "loss_rpn_box_reg".
    """
    found, offsets = rpn.head(list(maps))
    lengths = [of_map[0].numel() for of_map in found]
    objectness, deltas = (values.float() for values in concat_box_prediction_layers(found, offsets))
    anchors = [anchors_of(rpn.anchor_generator, maps, images.tensors)] * len(images.image_sizes)
    boxes = rpn.box_coder.decode(deltas.detach(), anchors).view(len(anchors), -1, 4)
    proposals, _ = rpn.filter_proposals(boxes, objectness, images.image_sizes, lengths)
    if targets is None:
        return proposals, {}
    labels, matched = rpn.assign_targets_to_anchors(anchors, targets)
    aims = rpn.box_coder.encode(matched, anchors)
    loss_objectness, loss_boxes = rpn.compute_loss(objectness, deltas, labels, aims)
    return proposals, {"loss_objectness": loss_objectness, "loss_rpn_box_reg": loss_boxes}
