"""Region proposals (Ren et al. 2015): torchvision's parts, asked in float32 whatever the precision of the pass.

Axes: B images, P anchors over all maps of a pyramid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers

from alpl.boxes.anchors import anchors_of
from alpl.errors import ConfigError

_BETA = 1 / 9  # torchvision's: from there on the loss of a delta is linear


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


class ProposalLosses(NamedTuple):
    """The losses of the anchors that were sampled, "loss_objectness" and "loss_rpn_box_reg"."""

    parts: dict[str, Tensor]
    """Scalars over the sampled anchors of all images."""
    per_image: Tensor
    """``Float[B]``: the sum of both over the sampled anchors of each image alone, 0 if not asked for; no gradients."""


def propose(
    rpn: RegionProposalNetwork,
    maps: Sequence[Tensor],
    images: ImageList,
    targets: list[dict[str, Tensor]] | None,
    *,
    tell_images: bool = False,
) -> tuple[list[Tensor], ProposalLosses]:
    """Do what the network's ``forward`` does, but in float32: bfloat16 cannot tell pixel 301 from pixel 302.

    Args:
        rpn: how many proposals it gives follows from its mode (training or evaluation).
        maps: ``[B width h w]`` each.
        images: the padded input, and the sizes of the images within it; proposals are clipped to them.
        targets: B, each with "boxes" ``Float[n 4]``; None for no loss.
        tell_images: whether to tell also what each image has in the losses.

    Returns:
        B of ``Float[n 4]`` proposals, best first, and the losses.
    """
    found, offsets = rpn.head(list(maps))
    lengths = [of_map[0].numel() for of_map in found]
    objectness, deltas = (values.float() for values in concat_box_prediction_layers(found, offsets))
    anchors = [anchors_of(rpn.anchor_generator, maps, images.tensors)] * len(images.image_sizes)
    boxes = rpn.box_coder.decode(deltas.detach(), anchors).view(len(anchors), -1, 4)
    proposals, _ = rpn.filter_proposals(boxes, objectness, images.image_sizes, lengths)
    if targets is None:
        return proposals, ProposalLosses({}, objectness.new_zeros(len(anchors)))
    labels, matched = rpn.assign_targets_to_anchors(anchors, targets)
    aims = rpn.box_coder.encode(matched, anchors)
    return proposals, _losses(rpn, objectness, deltas, torch.stack(labels), torch.stack(aims), tell_images=tell_images)


def _losses(
    rpn: RegionProposalNetwork,
    objectness: Tensor,
    deltas: Tensor,
    labels: Tensor,
    aims: Tensor,
    *,
    tell_images: bool,
) -> ProposalLosses:
    """Do what torchvision's ``compute_loss`` does, and maybe tell what each image has in it.

    Args:
        rpn: samples anchors.
        objectness: ``Float[B*P 1]`` logits.
        deltas: ``Float[B*P 4]``.
        labels: ``Float[B P]``: 1 of an object, 0 background, -1 for neither.
        aims: ``Float[B P 4]`` deltas of the objects.
        tell_images: whether to.
    """
    chosen = [torch.stack(of_images) for of_images in rpn.fg_bg_sampler(list(labels))]
    positive, negative = (each.flatten().bool().nonzero().flatten() for each in chosen)
    sampled = torch.cat([positive, negative])
    logits, aim = objectness.flatten()[sampled], labels.flatten()[sampled]
    found, wanted = deltas[positive], aims.view(-1, 4)[positive]
    parts = {
        "loss_objectness": binary_cross_entropy_with_logits(logits, aim),
        "loss_rpn_box_reg": smooth_l1_loss(found, wanted, beta=_BETA, reduction="sum") / sampled.numel(),
    }
    if not tell_images:  # which waits for the device
        return ProposalLosses(parts, objectness.new_zeros(len(labels)))
    with torch.no_grad():
        each = binary_cross_entropy_with_logits(logits, aim, reduction="none")
        each[: len(positive)] += smooth_l1_loss(found, wanted, beta=_BETA, reduction="none").sum(1)
        order = torch.div(sampled, labels.shape[1], rounding_mode="floor").sort(stable=True)
        per_image = means_of_images(each[order.indices], order.values.bincount(minlength=len(labels)).tolist())
    return ProposalLosses(parts, per_image)


def means_of_images(values: Tensor, counts: Sequence[int]) -> Tensor:
    """``Float[n]``, those of image 0 first, and how many each of B images has -> ``Float[B]`` means, 0 of none.

    >>> means_of_images(torch.tensor([1.0, 3.0, 5.0]), [2, 0, 1])
    tensor([2., 0., 5.])
    """
    return torch.stack([part.sum() / max(len(part), 1) for part in values.split(list(counts))])
