"""COCO's average precision with KITTI's own beside it, for runs on KITTI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, final

from torchmetrics.wrappers.abstract import WrapperMetric

from alpl.boxes.objects import Objects
from alpl.metrics.coco_ap import COCOAveragePrecision
from alpl.metrics.kitti_ap import KITTIAveragePrecision
from alpl.metrics.voc_ap import ImageDetections


@final
class COCOBesideKITTI(WrapperMetric):
    """What NORIS most likely calls mAP on KITTI (its text does not say), and what the benchmark measures.

    Args:
        num_classes: K.
        num_recalls: of KITTI's; see :class:`alpl.metrics.kitti_ap.KITTIAveragePrecision`.
        iou_threshs: of KITTI's, of each class by its place: the default is right where Car is the first of the labels.

    Raises:
        ConfigError: see there.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = True

    def __init__(
        self, num_classes: int, num_recalls: Literal[11, 40] = 40, iou_threshs: Sequence[float] = (0.7, 0.5)
    ) -> None:
        super().__init__()
        self.coco = COCOAveragePrecision(num_classes)
        self.kitti = KITTIAveragePrecision(num_classes, iou_threshs, num_recalls)

    def update(self, detections: Sequence[ImageDetections], targets: Sequence[Objects]) -> None:
        """Keep the detections of B images, one of each an image.

        Raises:
            ValueError: see :meth:`alpl.metrics.kept_images.AbstractKeptImages.update`.
        """
        self.coco.update(detections, targets)
        self.kitti.update(detections, targets)

    def compute(self) -> dict[str, Any]:
        """Give what COCO's gives, and ``kitti_moderate``, ``kitti_easy`` and ``kitti_hard``, floats in [0, 1]."""
        kitti = self.kitti.compute()
        return {**self.coco.compute(), **{f"kitti_{name}": kitti[name] for name in ("moderate", "easy", "hard")}}

    def reset(self) -> None:
        """Forget all."""
        super().reset()
        self.coco.reset()
        self.kitti.reset()
