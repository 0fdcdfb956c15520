"""Why a detection is wrong: what its box and its class make of the objects of its image.

Axes: I detections, n objects of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import box_iou

from alpl.boxes.objects import Objects
from alpl.predictions import Predictions

FOUND, TOUCHED = 0.5, 0.1
"""IoU from which a box finds an object, and from which it is about one."""

RIGHT, CLASS, BOX, TWICE, BACKGROUND, OTHER = range(6)
CAUSES = "right", "class", "box", "twice", "background", "other"
"""right: by falling score, the first to find an object of its class. Of the others, in this order: it finds an object
of its class (twice); it finds one of another class (class); it touches one of its class (box); it touches none
(background); it touches one of another class (other)."""


class Judgment(NamedTuple):
    """What the detections are."""

    cause: Tensor
    """``Long[I]``, see :data:`CAUSES`."""
    overlap: Tensor
    """``Float64[I]``, largest IoU with an object of any class."""


def judge(seen: Predictions, truth: Sequence[Objects]) -> Judgment:
    """Judge detections by the objects of the images, one of ``truth`` for each image of ``seen``."""
    assert seen.boxes is not None and seen.labels is not None and seen.scores is not None
    cause = torch.full((len(seen.row),), BACKGROUND)
    overlap = torch.zeros(len(seen.row), dtype=torch.float64)
    for image, objects in enumerate(truth):
        here = (seen.row == image).nonzero().flatten()
        if not len(here) or not len(objects):
            continue
        here = here[seen.scores[here].argsort(descending=True, stable=True)]
        iou = box_iou(seen.boxes[here].double(), objects.boxes.double())
        same = iou.where(seen.labels[here, None] == objects.labels, 0.0)
        overlap[here] = iou.amax(1)
        cause[here] = _causes(iou.amax(1), same)
    return Judgment(cause, overlap)


def _causes(overlap: Tensor, same: Tensor) -> Tensor:
    """``Float[I]`` of any class, ``Float[I n]`` of the same class, by falling score -> ``Long[I]``."""
    own = same.amax(1)
    cause = torch.full((len(own),), OTHER)
    cause[overlap < TOUCHED] = BACKGROUND
    cause[own >= TOUCHED] = BOX
    cause[overlap >= FOUND] = CLASS
    cause[own >= FOUND] = TWICE
    free = torch.ones(same.shape[1], dtype=torch.bool)
    for one, of_objects in enumerate(same):
        left = of_objects.where(free, 0.0)
        if left.max() >= FOUND:
            cause[one], free[left.argmax()] = RIGHT, False
    return cause
