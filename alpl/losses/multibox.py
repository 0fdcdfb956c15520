"""SSD's MultiBox loss, and its form for pseudo-labels.

Axes: B images, P priors, C = K + 1 outputs (0 is the background), n objects of one image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_convert, box_iou

from alpl.boxes.box_coding import VARIANCES, encode

NEGATIVES_PER_POSITIVE = 3

PriorLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""``[... W]``, and ``Long[...]`` labels or ``Float[... 4]`` deltas -> ``Float[...]``, of float32 or above."""


class Kind(IntEnum):
    """Where the targets of an image come from."""

    UNLABELED = 0
    """Nowhere: the image has no part in the loss, whatever targets it is given."""
    LABELED = 1
    """From the oracle."""
    PSEUDO = 2
    """From an earlier model, which need not have found every object."""


class UnitObjects(Protocol):
    """The objects of one image, such as :class:`alpl.boxes.objects.Objects` with boxes in units of the image."""

    @property
    def boxes(self) -> Tensor:
        """``Float[n 4]`` xyxy, each side of the image is 1."""
        ...

    @property
    def labels(self) -> Tensor:
        """``Long[n]``, 0 is the first foreground class."""
        ...


class MultiboxLoss(NamedTuple):
    """The two terms, scalars that carry gradients, what they were divided by, and what each image has in them."""

    classification: Tensor
    localization: Tensor
    num_positives: Tensor
    """``Long[]``, N; both terms are 0 where it is 0."""
    per_image: Tensor
    """``Float[B]``: both terms of each image by itself, over its own positives; 0 where it has none. No gradients."""
    labels: Tensor
    """``Long[B P]``: what each prior is trained to be, 0 for the background and for all priors of unlabeled images."""
    boxes: Tensor
    """``Float[n 4]`` cxcywh, the objects of the n priors that have one, in their order."""


def match(boxes: Tensor, labels: Tensor, priors: Tensor, iou_thresh: float = 0.5) -> tuple[Tensor, Tensor]:
    """Give each prior a target (Liu et al. 2016, sec. 2.2, "Matching strategy").

    Every object gets the prior that it overlaps most, whatever their IoU is (where two objects want the same prior, the
    later one gets it). Every other prior gets the object that it overlaps most where their IoU is ``iou_thresh`` or
    more, else it is background; no prior is ignored. Ties go to the first.

    Args:
        boxes: ``Float[n 4]`` xyxy in units of the image; n may be 0.
        labels: ``Long[n]``, 0 is the first foreground class.
        priors: ``Float[P 4]`` cxcywh.
        iou_thresh: in [0, 1].

    Returns:
        ``Long[P]`` target labels, 0 for the background and 1 for the first foreground class, and ``Float[P 4]`` target
        boxes, xyxy: of a background prior the object that it overlaps most, or the prior itself where n is 0.
    """
    corners: Tensor = box_convert(priors, "cxcywh", "xyxy")
    if not len(boxes):
        return torch.zeros(len(priors), dtype=torch.long, device=priors.device), corners
    overlaps = box_iou(boxes, corners.to(boxes))
    best_iou, best_object = overlaps.max(0)
    objects = torch.arange(len(boxes), device=boxes.device)
    # amax: the last of the objects that want the same prior, also on a GPU, where repeated writes have no order
    forced = torch.full_like(best_object, -1).scatter_reduce(0, overlaps.argmax(1), objects, "amax")
    chosen = torch.where(forced >= 0, forced, best_object)
    positive = (forced >= 0) | (best_iou >= iou_thresh)
    return torch.where(positive, labels[chosen] + 1, 0), boxes[chosen]


def hard_negatives(losses: Tensor, positive: Tensor, ratio: int = NEGATIVES_PER_POSITIVE) -> Tensor:
    """Choose in each image the background priors of highest loss, ``ratio`` for each positive.

    Liu et al. 2016, sec. 2.2, "Hard negative mining". An image without positives has no negatives. Ties go to the
    first.

    Args:
        losses: ``Float[B P]`` cross-entropy with the background as target.
        positive: ``Bool[B P]``.
        ratio: negatives for each positive; fewer where the background priors run out.

    Returns:
        ``Bool[B P]``, false at every positive.
    """
    ranked = losses.detach().masked_fill(positive, -torch.inf).argsort(dim=1, descending=True, stable=True)
    num_positives = positive.sum(1, keepdim=True)
    number = torch.minimum(ratio * num_positives, positive.shape[1] - num_positives)
    first = torch.arange(positive.shape[1], device=positive.device) < number
    return torch.zeros_like(positive).scatter(1, ranked, first)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """``[... C]``, ``Long[...]`` -> ``Float[...]``; half precision is computed in float32."""
    logits = at_least_single(logits)
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none").view(labels.shape)


def smooth_l1(deltas: Tensor, aims: Tensor, beta: float = 1.0) -> Tensor:
    """``[... 4]``, ``Float[... 4]`` -> ``Float[...]``, the sum over the four; half precision is computed in float32."""
    deltas = at_least_single(deltas)
    return F.smooth_l1_loss(deltas, aims.to(deltas), reduction="none", beta=beta).sum(-1)


def at_least_single(values: Tensor) -> Tensor:
    """Give values of half precision in float32."""
    return values if values.dtype == torch.float64 else values.float()


def multibox_loss(
    logits: Tensor,
    deltas: Tensor,
    targets: Sequence[UnitObjects],
    priors: Tensor,
    kinds: Tensor | None = None,
    *,
    iou_thresh: float = 0.5,
    negatives_per_positive: int = NEGATIVES_PER_POSITIVE,
    variances: tuple[float, float] = VARIANCES,
    class_loss: PriorLoss = cross_entropy,
    box_loss: PriorLoss = smooth_l1,
) -> MultiboxLoss:
    r"""Give SSD's loss (Liu et al. 2016, Eq. 1 to 3) with the classification term of Elezi et al., Eq. 8.

    .. math::
        L_{conf} = \frac{1}{N} \Big(- \sum_{i \in Pos} \ln c_i^{y_i} - \sum_{i \in Neg} \ln c_i^0
                   - \sum_{i \in \hat{Pos}} \ln c_i^{\hat y_i}\Big), \qquad
        L_{loc} = \frac{1}{N} \sum_{i \in Pos \cup \hat{Pos}}\ \sum_{m \in \{cx, cy, w, h\}}
                  \mathrm{smooth}_{L1}(l_i^m - t_i^m)

    Where c is the softmax of the logits, l the deltas, t the encoded target boxes, Pos the matched priors of labeled
    images, :math:`\hat{Pos}` those of pseudo-labeled ones, and Neg the hard negatives of labeled images alone: where a
    pseudo-label is missing there may still be an object. N counts Pos and :math:`\hat{Pos}` of the whole batch. Where
    it is 0 both terms are 0, and their gradients are 0 too, not absent (AL-MDN, Eq. 6).

    With other losses of a prior the rest stays the same: AL-MDN's Eq. 6 with those of its mixtures, where the negatives
    are those of the highest mixture loss. ``class_loss`` is asked once, so that the negatives are chosen by the very
    values, and the very noise, that are summed.

    Args:
        logits: ``Float[B P C]``, or what ``class_loss`` takes.
        deltas: ``Float[B P 4]``, or what ``box_loss`` takes.
        targets: B of them; see :class:`UnitObjects`. Objects that are no targets (VOC's difficult ones) are left out.
        priors: ``Float[P 4]`` cxcywh.
        kinds: ``Long[B]`` of :class:`Kind`; None where every image is labeled.
        iou_thresh: see :func:`match`.
        negatives_per_positive: see :func:`hard_negatives`.
        variances: see :func:`alpl.boxes.box_coding.encode`.
        class_loss: of each prior's logits and label (0 for the background).
        box_loss: of each positive prior's deltas and those of its target box.

    Raises:
        ValueError: there is not one target an image, or a box has no width or height.
    """
    _check_targets(targets, len(logits))
    matched = [match(target.boxes, target.labels, priors, iou_thresh) for target in targets]
    labels = torch.stack([labels for labels, _ in matched])
    boxes = box_convert(torch.stack([boxes.to(deltas.device) for _, boxes in matched]), "xyxy", "cxcywh")
    boxes = boxes.to(torch.promote_types(deltas.dtype, torch.float32))
    of_objects = torch.ones_like(labels[:, :1]) if kinds is None else kinds.view(-1, 1)
    positive = (labels > 0) & (of_objects != Kind.UNLABELED)

    entropies = class_loss(logits, labels)
    negative = hard_negatives(entropies, positive, negatives_per_positive) & (of_objects == Kind.LABELED)
    classification = torch.where(positive | negative, entropies, 0)
    localization = torch.zeros_like(boxes[..., 0])
    localization[positive] = box_loss(deltas[positive], encode(boxes, priors.to(boxes), variances)[positive])
    numbers = positive.sum(1)
    num_positives = numbers.sum()
    scale = num_positives.clamp(min=1)
    return MultiboxLoss(
        classification.sum() / scale,
        localization.sum() / scale,
        num_positives,
        (classification + localization).detach().sum(1) / numbers.clamp(min=1),
        torch.where(positive, labels, 0),
        boxes[positive],
    )


def _check_targets(targets: Sequence[UnitObjects], num_images: int) -> None:
    if len(targets) != num_images:
        raise ValueError(f"targets must be one for each of {num_images} images, got {len(targets)}")
    boxes = torch.cat([target.boxes for target in targets]) if targets else torch.zeros(0, 4)
    empty = (boxes[:, 2:] <= boxes[:, :2]).any(1)
    if bool(empty.any()):
        raise ValueError(f"boxes of targets must have a width and a height, got {boxes[empty][0].tolist()}")
