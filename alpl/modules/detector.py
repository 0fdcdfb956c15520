"""What every detector is: one method that detects, from which test and prediction follow.

Axes: B images of a batch, D detections of the batch, K foreground classes, V views.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, cast, final

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from alpl.config.partial_parts import complete
from alpl.data.batch import Batch
from alpl.data.task import Task
from alpl.errors import ConfigError
from alpl.modules.augmented_views import FCDR, AbstractAugmentation, with_views
from alpl.modules.base import AbstractModule, AbstractTrainableModule
from alpl.modules.dropout import dropped
from alpl.predictions import Need, Predictions


@final
@dataclass(frozen=True)
class Suppression:
    """What of a network's output counts as a detection.

    Args:
        score_thresh: a candidate's score is above it; of ATSS and DDOD, its class's probability.
        nms_thresh: a candidate is dropped where its IoU with a better one of its class is above it; None drops none,
            as of CenterNet, whose candidates are peaks.
        pre_nms_top_k: candidates that enter the suppression: of a class (SSD), or of a map (RetinaNet, FCOS,
            CenterNet and the like).
        max_detections: of an image, the best ones of all classes; None for no limit.
    """

    score_thresh: float = 0.01
    nms_thresh: float | None = 0.45
    pre_nms_top_k: int = 200
    max_detections: int | None = None


class AbstractDetector(AbstractModule):
    """Base of detectors and of ensembles of them.

    Args:
        num_classes: K.
        metric: makes the test metric from ``num_classes``, e.g. :class:`alpl.metrics.voc_ap.VOCAveragePrecision`.
        evaluation: what counts as a detection in the test.
        acquisition: what counts as a detection where an acquisition looks.
        selection: what does in its later stages, those that look at candidates; None for the same.
        augmentations: make the other views of images where ``Need.AUGMENTED`` is asked for; None for the usual four
            (:data:`alpl.modules.augmented_views.FCDR`).
        options: of the next class.

    Raises:
        ConfigError: ``augmentations`` is empty, or one of them is none.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        metric: Callable[..., Metric],
        evaluation: Suppression,
        acquisition: Suppression,
        selection: Suppression | None = None,
        augmentations: Sequence[AbstractAugmentation] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.num_classes = num_classes
        self.make_metric = metric
        self.metric = complete(metric, "model.metric", num_classes=num_classes)
        self.evaluation, self.acquisition, self.selection = evaluation, acquisition, selection
        self.augmentations = FCDR if augmentations is None else tuple(augmentations)
        if not self.augmentations or not all(isinstance(each, AbstractAugmentation) for each in self.augmentations):
            raise ConfigError(f"model.augmentations must be null or augmentations, at least one, got {augmentations}")

    @abstractmethod
    def detect(self, batch: Batch, suppression: Suppression, needs: Need) -> Predictions:
        """Detect in a batch that went through the evaluation transform; see :class:`alpl.predictions.Predictions`.

        ``row``, ``labels`` and ``scores`` are always given, the rest where ``needs`` names it. Detections are ordered
        by image. Boxes are in pixels of the original images (``batch.sizes``).
        """

    @property
    def tested(self) -> AbstractDetector:
        """Who detects in a test."""
        return self

    @final
    def predict_batch(self, batch: Batch, needs: Need) -> Predictions:
        """See the base class; I = D. Other views of the images are asked about as the images are."""
        suppression = (self.selection if self.stage else None) or self.acquisition
        if Need.AUGMENTED not in needs:
            return self.detect(batch, suppression, needs)

        def detect(shown: Batch, wanted: Need) -> Predictions:
            return self.detect(shown, suppression, wanted)

        return with_views(detect, batch, needs, self.augmentations)

    @property
    def looks_again(self) -> bool:
        """See the base class."""
        return self.selection is not None

    @final
    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Tell the metric the detections and the objects of each image."""
        found = self.tested.detect(batch, self.evaluation, Need.BOXES)
        assert found.boxes is not None and found.labels is not None and found.scores is not None, "they were asked for"
        images = []
        for row in range(len(batch.images)):
            chosen = found.row == row
            images.append(
                {"boxes": found.boxes[chosen], "labels": found.labels[chosen], "scores": found.scores[chosen]}
            )
        self.metric.update(images, [batch.targets.of(row) for row in range(len(images))])

    @final
    def test_results(self) -> dict[str, Any]:
        """``test/map`` in [0, 1], other averages that the metric knows, and ``test/map_per_class``."""
        return named_results(self.metric)


DetectorT = TypeVar("DetectorT", bound="AbstractTrainableDetector")


class AbstractDetectorEnsemble(AbstractDetector, Generic[DetectorT]):
    """Several trained detectors of one kind; classes, metric and suppression are those of the first.

    Args:
        members: at least one.
    """

    def __init__(self, members: Sequence[DetectorT]) -> None:
        first = members[0]
        super().__init__(
            num_classes=first.num_classes,
            metric=first.make_metric,
            evaluation=first.evaluation,
            acquisition=first.acquisition,
            selection=first.selection,
            augmentations=first.augmentations,
        )
        self.members = nn.ModuleList(members)

    @property
    def detectors(self) -> list[DetectorT]:
        """The members."""
        return cast("list[DetectorT]", list(self.members))

    @property
    def tested(self) -> AbstractDetector:
        """All members together, or the first one where they say so."""
        first = self.detectors[0]
        return self if first.tested_members == "all" else first

    @property
    def provides(self) -> Need:
        """What every detector provides, and views: the members, or the same of other views of the images."""
        return Need.POSTERIOR | Need.BOXES | Need.IMAGE_FEATURES | Need.VIEWS | Need.AUGMENTED


class AbstractTrainableDetector(AbstractDetector, AbstractTrainableModule):
    """A detector that is trained.

    Args:
        num_passes: dropout passes where views are asked for (MC-dropout), V.
        tested_members: who of an ensemble detects in a test: ``all`` or the ``first``, as the works print it (AL-MDN,
            Tables 4 and 5: in the first cycle Random and Ensemble have the same mAP).
        options: metric, evaluation, acquisition, see :class:`AbstractDetector`; optimizer, scheduler,
            scheduler_interval, warmup, see :class:`alpl.modules.base.AbstractTrainableModule`.

    Raises:
        ConfigError: ``num_passes`` is less than 1, or ``tested_members`` is neither.
    """

    task = Task.DETECTION

    def __init__(
        self, *, num_passes: int = 25, tested_members: Literal["all", "first"] = "all", **options: Any
    ) -> None:
        super().__init__(**options)
        if num_passes < 1:
            raise ConfigError(f"model.num_passes must be >= 1, got {num_passes}")
        if tested_members not in ("all", "first"):
            raise ConfigError(f"model.tested_members must be all or first, got {tested_members!r}")
        self.num_passes = num_passes
        self.tested_members = tested_members

    @final
    def dropout_passes(self, ask: Callable[[], Tensor], layers: nn.Module) -> Tensor:
        """``[V ...]``: what is given when asked V times while these layers drop; the rest is as in evaluation."""
        with dropped(layers):
            return torch.stack([ask() for _ in range(self.num_passes)])


def named_results(metric: Metric) -> dict[str, Any]:
    """Compute and reset; NaN, of a class without objects, becomes None, as JSON has no NaN."""
    results = metric.compute()
    metric.reset()
    per_class = [None if value != value else value for value in results.pop("per_class").tolist()]
    return {f"test/{name}": float(value) for name, value in results.items()} | {"test/map_per_class": per_class}
