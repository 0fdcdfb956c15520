"""Average precision as KITTI defines it (Geiger et al. 2012, sec. 3.1, and its development kit).

Axes: D detections and G objects of one image, R its regions to be ignored, K foreground classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, final

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from alpl.boxes.ignore_regions import share_within
from alpl.boxes.kitti_levels import LEVELS, Level
from alpl.boxes.objects import NO_CLASS, Objects
from alpl.errors import ConfigError
from alpl.metrics.kept_images import AbstractKeptImages, KeptImage
from alpl.metrics.kitti_matching import Scene, precisions

SHOWN = "moderate"  # the level by which the benchmark ranks


@final
class KITTIAveragePrecision(AbstractKeptImages):
    r"""Mean average precision at KITTI's three levels, over images, batches and processes.

    Of a class at a level count the objects that are at least so high and at most so occluded and truncated
    (:data:`alpl.boxes.kitti_levels.LEVELS`). The others of the class, and difficult ones (Van for Car, Person_sitting
    for Pedestrian), are ignored: who finds them is neither right nor wrong, nor is a detection that is lower than the
    level asks for, or that lies to more than the overlap in a region of DontCare. Overlaps must be *above* the least
    one.

    .. math::
        AP_{11} = \tfrac{1}{11} \sum_{r \in \{0, 0.1, \dots, 1\}} \max_{\tilde r \ge r} p(\tilde r), \qquad
        AP_{40} = \tfrac{1}{40} \sum_{r \in \{1/40, \dots, 1\}} \max_{\tilde r \ge r} p(\tilde r)

    where precision is measured at the 41 scores whose recall comes nearest to 0, 1/40, ... 1. Heights are those of
    boxes as they are written, and areas without + 1, as in the development kit.

    Args:
        num_classes: K.
        iou_threshs: least overlap of each class in the order of the labels; the last one is that of all further
            classes. By default Car 0.7, others 0.5.
        num_recalls: 40 (the benchmark since 2019) or 11 (before; the kit in CenterNet's repository).

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self, num_classes: int, iou_threshs: Sequence[float] = (0.7, 0.5), num_recalls: Literal[11, 40] = 40
    ) -> None:
        super().__init__(num_classes)
        if not iou_threshs or not all(0 < each < 1 for each in iou_threshs):
            raise ConfigError(f"iou_threshs must lie in (0, 1), at least one, got {list(iou_threshs)}")
        if num_recalls not in (11, 40):
            raise ConfigError(f"num_recalls must be 11 or 40, got {num_recalls!r}")
        self.iou_threshs = [iou_threshs[min(label, len(iou_threshs) - 1)] for label in range(num_classes)]
        self.num_recalls = num_recalls

    def compute(self) -> dict[str, Any]:
        """Give ``map`` and ``per_class`` (``Float64[K]``) at the moderate level, and ``easy``, ``moderate``, ``hard``.

        All in [0, 1]. A class without an object that counts at a level is NaN, and not in the mean; that is NaN if it
        is all of them.
        """
        images = [_Overlaps.of(image) for image in self.kept()]
        found = {level.name: [self._average(images, label, level) for label in self._labels()] for level in LEVELS}
        means = {name: _mean(values) for name, values in found.items()}
        return {"map": means[SHOWN], **means, "per_class": np.array(found[SHOWN])}

    def _labels(self) -> range:
        return range(self.num_classes)

    def _average(self, images: Sequence[_Overlaps], label: int, level: Level) -> float:
        """AP of one class at one level."""
        thresh = self.iou_threshs[label]
        best = precisions([image.scene(label, level, thresh) for image in images], thresh)
        if best is None:
            return math.nan
        return float(best[::4].mean() if self.num_recalls == 11 else best[1:].mean())


class _Overlaps(NamedTuple):
    """An image whose overlaps are known for all classes and levels at once."""

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    truth: Objects
    overlaps: Tensor
    """``Float64[G D]``, intersection over union."""
    within: Tensor
    """``Float64[D]``, the largest share of a detection that lies in a region; 0 where there is none."""

    @classmethod
    def of(cls, image: KeptImage) -> _Overlaps:
        boxes = image.found["boxes"].double()
        is_region = image.truth.labels == NO_CLASS
        truth = image.truth[~is_region]
        regions = image.truth.boxes[is_region].double()
        within = torch.cat([share_within(boxes, regions), boxes.new_zeros(len(boxes), 1)], 1).amax(1)
        overlaps = box_iou(truth.boxes.double(), boxes)  # two empty boxes: NaN, which is above no threshold
        return cls(boxes, image.found["labels"], image.found["scores"], truth, overlaps, within)

    def scene(self, label: int, level: Level, iou_thresh: float) -> Scene:
        """See the image as one class at one level does."""
        low = self.boxes[:, 3] - self.boxes[:, 1] < level.height
        seen = low | (self.labels == label)
        asked = self.truth.labels == label
        truth = self.truth[asked]
        return Scene(
            self.scores[seen].double().numpy(),
            low[seen].numpy(),
            self.overlaps[asked][:, seen].numpy(),
            (truth.difficult | (truth.levels > LEVELS.index(level))).numpy(),
            (self.within[seen] > iou_thresh).numpy(),
        )


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
