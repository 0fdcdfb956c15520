"""Faster R-CNN (Ren et al. 2015) on a feature pyramid (Lin et al. 2017): torchvision's parts, asked one by one.

torchvision's own model decides inside what a detection is, and forgets the proposal and the posterior that it came
from. Parameters are named as there.

Axes: B images, R proposals of all of them, C = K + 1 outputs (0 is the background), F features of a proposal, W and X
values of a class and a box head.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import MultiScaleRoIAlign

from alpl.boxes.anchors import anchor_generator
from alpl.errors import ConfigError
from alpl.losses.positives import Losses, Positives
from alpl.networks.fpn import AbstractFpn
from alpl.networks.heads import AbstractBoxHead, AbstractClassHead, Heads, PointBoxes, SoftmaxClasses
from alpl.networks.proposals import ProposalRules, RegionSampling, means_of_images, propose


class RegionOutput(NamedTuple):
    """What one pass of the second stage gives."""

    classes: Tensor
    """``Float32[R W]``, what the last layer says about classes."""
    boxes: Tensor
    """``Float32[R C X]``, what it says about the box of every output."""
    hidden: Tensor
    """``[R F]``, see :meth:`BoxHead.hidden`."""
    heads: Heads
    """How both are read."""

    @property
    def logits(self) -> Tensor:
        """``Float32[R C]``: their softmax is the posterior."""
        return self.heads.classes.logits(self.classes)

    @property
    def deltas(self) -> Tensor:
        """``Float32[R C 4]``, a box for every output."""
        return self.heads.boxes.deltas(self.boxes)


class Sampled(NamedTuple):
    """The proposals that a training step of the second stage is of, as torchvision gives them; lists of B."""

    regions: list[Tensor]
    """``Float[n 4]``."""
    matched: list[Tensor]
    """``Long[n]``, the object that each overlaps most; 0 also where the image has none."""
    labels: list[Tensor]
    """``Long[n]``, 0 for the background."""
    aims: list[Tensor]
    """``Float[n 4]`` deltas of the objects."""


class SampledOutput(NamedTuple):
    """What the second stage says of S sampled proposals of all B images."""

    sampled: Sampled
    """S in all."""
    labels: Tensor
    """``Long[S]``, 0 for the background."""
    classes: Tensor
    """``Float32[S W]``."""
    boxes: Tensor
    """``Float32[S C X]``."""

    @property
    def positive(self) -> Tensor:
        """``Long[n]``, which of the S have an object."""
        return (self.labels > 0).nonzero().flatten()


@final
class RegionPredictor(nn.Module):
    """torchvision's ``FastRCNNPredictor`` for any numbers of outputs: two linear layers.

    Args:
        in_channels: F.
        num_class_values: W.
        num_box_values: of all boxes together.
    """

    def __init__(self, in_channels: int, num_class_values: int, num_box_values: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(in_channels, num_class_values)
        self.bbox_pred = nn.Linear(in_channels, num_box_values)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """``[R F]`` -> what it says about classes and about boxes."""
        return self.cls_score(features), self.bbox_pred(features)


@final
class BoxHead(nn.Module):
    """torchvision's ``TwoMLPHead`` with dropout behind both layers, as in Fast R-CNN (Girshick 2015).

    In two parts, so that several passes with dropout share what comes before it.

    Args:
        in_channels: of a flattened region.
        width: F.
        dropout: probability; what MC-dropout draws from.
    """

    def __init__(self, in_channels: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc6 = nn.Linear(in_channels, width)
        self.fc7 = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, regions: Tensor) -> Tensor:
        """``[R width side side]`` -> ``[R F]``."""
        return self.from_hidden(self.hidden(regions))

    def hidden(self, regions: Tensor) -> Tensor:
        """Compute what comes before the first dropout."""
        return torch.relu(self.fc6(regions.flatten(1)))

    def from_hidden(self, hidden: Tensor) -> Tensor:
        """Compute the rest of a pass from :meth:`hidden`."""
        features: Tensor = self.dropout(torch.relu(self.fc7(self.dropout(hidden))))
        return features


@final
class FasterRcnn(nn.Module):
    """Proposals, and the posterior and boxes of each of them.

    Args:
        backbone: makes the backbone with its pyramid.
        num_outputs: C.
        anchor_sizes: of each map, in pixels of the input; as many for every map.
        aspect_ratios: height to width; the anchors of a cell are all sizes of all ratios.
        num_roi_maps: the second stage reads from that many maps, finest first.
        roi_size: cells along each side of a region.
        canonical_scale: a region of that many pixels squared is read from the map of stride 16, smaller ones from finer
            maps (Lin et al. 2017, Eq. 1).
        head_width: F.
        dropout: probability in the box head.
        classes: what the last layer's values of classes mean, see :mod:`alpl.networks.heads`; None for plain logits.
        boxes: what its values of boxes mean; None for plain deltas, with torchvision's smooth L1 loss.
        background_boxes: whether the background has a box, too, which nothing reads: torchvision's has. AL-MDN's has
            none, by its printed number of parameters.
        predictor: makes another last layer from F and C: ``[R F]`` -> class values ``[R W]`` and box values ``[R C*X]``
            (with plain heads logits and deltas), without the background's where it has none; None for linear layers.
        proposals: how proposals are chosen and trained.
        sampling: which proposals the second stage is trained on.

    Raises:
        ConfigError: a number is out of range, or the anchors do not fit the maps.
    """

    def __init__(
        self,
        backbone: Callable[[], AbstractFpn],
        num_outputs: int,
        *,
        anchor_sizes: Sequence[Sequence[float]],
        aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        num_roi_maps: int = 4,
        roi_size: int = 7,
        canonical_scale: int = 224,
        head_width: int = 1024,
        dropout: float = 0.0,
        classes: AbstractClassHead | None = None,
        boxes: AbstractBoxHead | None = None,
        background_boxes: bool = True,
        predictor: Callable[[int, int], nn.Module] | None = None,
        proposals: ProposalRules | None = None,
        sampling: RegionSampling | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone()
        _check(num_outputs, num_roi_maps, self.backbone.num_maps, dropout)
        _check_positive(roi_size=roi_size, canonical_scale=canonical_scale, head_width=head_width)
        width = self.backbone.out_channels
        anchors = anchor_generator(anchor_sizes, aspect_ratios, self.backbone.num_maps)
        self.rpn = (proposals or ProposalRules()).network(width, anchors)
        rules = sampling or RegionSampling()
        self.heads = Heads(classes or SoftmaxClasses(), boxes or PointBoxes(beta=1 / 9))
        self.background_boxes = background_boxes
        self.num_outputs, self.num_features = num_outputs, head_width
        self._num_boxes = num_outputs if background_boxes else num_outputs - 1
        names = [str(number) for number in range(num_roi_maps)]
        self.roi_heads = RoIHeads(
            MultiScaleRoIAlign(names, roi_size, sampling_ratio=2, canonical_scale=canonical_scale),
            BoxHead(width * roi_size**2, head_width, dropout),
            self._predictor() if predictor is None else predictor(head_width, num_outputs),
            rules.fg_iou_thresh,
            rules.bg_iou_thresh,
            rules.batch_size_per_image,
            rules.positive_fraction,
            bbox_reg_weights=None,  # the published (10, 10, 5, 5)
            score_thresh=0.0,  # this and the next two are of torchvision's own suppression, which is not asked
            nms_thresh=1.0,
            detections_per_img=1,
        )

    def _predictor(self) -> RegionPredictor:
        num_classes = self.heads.classes.num_values(self.num_outputs)
        return RegionPredictor(self.num_features, num_classes, self._num_boxes * self.heads.boxes.num_values)

    def losses(
        self,
        images: Tensor,
        sizes: Sequence[tuple[int, int]],
        targets: list[dict[str, Tensor]],
        *,
        tell_positives: bool = False,
        tell_images: bool = False,
    ) -> Losses:
        """Give the four losses under torchvision's names.

        Those of the second stage are the heads': of classes the mean over the sampled proposals, of boxes the sum over
        those with an object, divided by the number of all.

        Args:
            images: ``Float[B 3 H W]``, padded.
            sizes: B of height and width of the images within.
            targets: B, each with "boxes" ``Float[n 4]`` and "labels" ``Long[n]``, 1 for the first class; n may be 0.
            tell_positives: whether to tell of the sampled proposals with an object too.
            tell_images: whether to tell also what each image has in them by itself (the four losses of a batch of it
                alone, with the same samples of anchors and proposals), and the maps.
        """
        maps = self.backbone(images)
        shown = ImageList(images, list(sizes))
        proposals, (first, of_first) = propose(self.rpn, list(maps.values()), shown, targets, tell_images=tell_images)
        asked = self.sampled(maps, images, proposals, targets)
        of_classes, of_boxes = self.class_losses(asked), self.box_losses(asked)
        parts = first | {
            "loss_classifier": of_classes.mean(),
            "loss_box_reg": of_boxes.sum() / len(asked.labels),
        }
        positives = self._positives(asked, targets) if tell_positives else None
        if not tell_images:
            return Losses(parts, None, positives)
        each = of_classes.detach().index_add(0, asked.positive, of_boxes.detach())
        of_second = means_of_images(each, [len(of_image) for of_image in asked.sampled.labels])
        return Losses(parts, of_first + of_second, positives, list(maps.values()))

    def sampled(
        self,
        maps: OrderedDict[str, Tensor],
        images: Tensor,
        proposals: list[Tensor],
        targets: list[dict[str, Tensor]],
    ) -> SampledOutput:
        """Sample proposals, the objects themselves among them, and ask the second stage about them.

        Args:
            maps: of the pyramid.
            images: ``Float[B 3 H W]``, padded.
            proposals: B of ``Float[n 4]``.
            targets: see :meth:`losses`.
        """
        sampled = Sampled(*self.roi_heads.select_training_samples(proposals, targets))
        classes, boxes = self._predict(self.roi_heads.box_head(self.pool(maps, sampled.regions, images)))
        return SampledOutput(sampled, torch.cat(sampled.labels), classes, boxes)

    def class_losses(self, asked: SampledOutput) -> Tensor:
        """``Float[S]``."""
        return self.heads.classes.losses(asked.classes, asked.labels)

    def box_losses(self, asked: SampledOutput) -> Tensor:
        """``Float[n]`` of the n proposals with an object; their sum divided by S is the loss."""
        boxes = asked.boxes[asked.positive, asked.labels[asked.positive]]
        return self.heads.boxes.losses(boxes, torch.cat(asked.sampled.aims)[asked.positive])

    @torch.no_grad()
    def _positives(self, asked: SampledOutput, targets: list[dict[str, Tensor]]) -> Positives:
        """Tell of the sampled proposals with an object."""
        sampled, positive = asked.sampled, asked.positive
        classes, boxes = asked.classes[positive], asked.boxes[positive, asked.labels[positive]]
        chosen = [(labels > 0).nonzero().flatten() for labels in sampled.labels]
        row = torch.cat([torch.full_like(kept, number) for number, kept in enumerate(chosen)])
        regions = torch.cat([each[kept] for each, kept in zip(sampled.regions, chosen, strict=True)])
        labels = torch.cat([each[kept] for each, kept in zip(sampled.labels, chosen, strict=True)])
        matches = zip(targets, sampled.matched, chosen, strict=True)
        objects = torch.cat([target["boxes"][match[kept]] for target, match, kept in matches])
        probs = self.heads.classes.logits(classes).softmax(-1).gather(1, labels[:, None])[:, 0]
        found = self.decode(self.heads.boxes.deltas(boxes), regions)
        return Positives.of_boxes(row, labels - 1, probs, found, objects)

    def proposals(
        self, maps: OrderedDict[str, Tensor], images: Tensor, sizes: Sequence[tuple[int, int]]
    ) -> list[Tensor]:
        """Give B of ``Float32[n 4]`` xyxy in pixels of the padded input, best first."""
        return propose(self.rpn, list(maps.values()), ImageList(images, list(sizes)), None)[0]

    def pool(self, maps: OrderedDict[str, Tensor], proposals: list[Tensor], images: Tensor) -> Tensor:
        """``[R width side side]``: the regions of B of ``Float[n 4]`` proposals.

        torchvision guesses the strides of the maps, once and for all, from the images of the first batch less their
        padding; here from its padded input, which tells them exactly.

        Raises:
            ValueError: the padded input is not a multiple of the strides.
        """
        align = self.roi_heads.box_roi_pool
        size = (images.shape[-2], images.shape[-1])
        for name in align.featmap_names:
            if size[0] % maps[name].shape[-2] or size[1] % maps[name].shape[-1]:
                raise ValueError(
                    f"images must be padded to multiples of the strides (data.pad_to: 32), got {list(size)} "
                    f"for a map of {list(maps[name].shape[-2:])}"
                )
        regions: Tensor = align(maps, proposals, [size])
        return regions

    def regions(self, maps: OrderedDict[str, Tensor], proposals: list[Tensor], images: Tensor) -> RegionOutput:
        """Ask the second stage at B of ``Float[n 4]`` proposals."""
        hidden = self.roi_heads.box_head.hidden(self.pool(maps, proposals, images))
        classes, boxes = self._predict(self.features(hidden))
        return RegionOutput(classes, boxes, hidden, self.heads)

    def features(self, hidden: Tensor) -> Tensor:
        """``[n F]`` of :class:`RegionOutput` -> ``[n F]``, what the predictor sees."""
        features: Tensor = self.roi_heads.box_head.from_hidden(hidden)
        return features

    def logits(self, hidden: Tensor) -> Tensor:
        """``[n F]`` of :class:`RegionOutput` -> ``Float32[n C]``; once more where dropout is on."""
        return self.heads.classes.logits(self._predict(self.features(hidden))[0])

    def decode(self, deltas: Tensor, proposals: Tensor) -> Tensor:
        """``Float[n 4]`` of one output each, ``Float[n 4]`` -> ``Float[n 4]`` xyxy."""
        boxes: Tensor = self.roi_heads.box_coder.decode_single(deltas, proposals)
        return boxes

    def _predict(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """``[R F]`` -> ``Float32[R W]`` and ``Float32[R C X]``, zeros where the background has no box."""
        classes, boxes = self.roi_heads.box_predictor(features)
        boxes = boxes.float().view(len(boxes), self._num_boxes, self.heads.boxes.num_values)
        return classes.float(), boxes if self.background_boxes else nn.functional.pad(boxes, (0, 0, 1, 0))


def _check(num_outputs: int, num_roi_maps: int, num_maps: int, dropout: float) -> None:
    if num_outputs < 2:
        raise ConfigError(f"num_outputs must be >= 2 (background and a class), got {num_outputs}")
    if not 1 <= num_roi_maps <= num_maps:
        raise ConfigError(f"num_roi_maps must be 1 to {num_maps}, got {num_roi_maps}")
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout must be in [0, 1), got {dropout}")


def _check_positive(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise ConfigError(f"{name} must be >= 1, got {value}")
