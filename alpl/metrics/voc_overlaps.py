"""PASCAL VOC's average precision at several overlaps at once (Choi et al. 2021, AL-MDN, Tables 1 and 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, final

from torch.nn import ModuleList
from torchmetrics.wrappers.abstract import WrapperMetric

from alpl.boxes.objects import Objects
from alpl.errors import ConfigError
from alpl.metrics.voc_ap import ImageDetections, VOCAveragePrecision


@final
class VOCOverlaps(WrapperMetric):
    """One :class:`alpl.metrics.voc_ap.VOCAveragePrecision` for each of several overlaps.

    Args:
        num_classes: K.
        iou_threshs: least overlaps; the first one's ``map`` and ``per_class`` stand for the table.
        interpolation: see there.
        overlap: see there.

    Raises:
        ConfigError: there is no overlap, or two are one percent; or see there.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = True

    def __init__(
        self,
        num_classes: int,
        iou_threshs: Sequence[float] = (0.5, 0.75),
        interpolation: Literal["11point", "area"] = "11point",
        overlap: Literal["devkit", "as_released"] = "devkit",
    ) -> None:
        super().__init__()
        self.names = [f"map{100 * thresh:.0f}" for thresh in iou_threshs]
        if not self.names or len(set(self.names)) < len(self.names):
            raise ConfigError(f"iou_threshs must be different percents, got {list(iou_threshs)}")
        metrics = [VOCAveragePrecision(num_classes, thresh, interpolation, overlap) for thresh in iou_threshs]
        self.metrics = ModuleList(metrics)

    def update(self, detections: Sequence[ImageDetections], targets: Sequence[Objects]) -> None:
        """Judge the detections of B images, one of each an image.

        Raises:
            ValueError: see :meth:`alpl.metrics.voc_ap.VOCAveragePrecision.update`.
        """
        for metric in self._each():
            metric.update(detections, targets)

    def compute(self) -> dict[str, Any]:
        """Give ``map``, ``map50`` and so on, floats in [0, 1], and ``per_class``, ``Float64[K]`` of the first."""
        found = [metric.compute() for metric in self._each()]
        averages = {name: one["map"] for name, one in zip(self.names, found, strict=True)}
        return {"map": found[0]["map"], **averages, "per_class": found[0]["per_class"]}

    def reset(self) -> None:
        """Forget all."""
        super().reset()
        for metric in self._each():
            metric.reset()

    def _each(self) -> list[VOCAveragePrecision]:
        return [metric for metric in self.metrics if isinstance(metric, VOCAveragePrecision)]
