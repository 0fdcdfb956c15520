"""SoftTeacher (Xu et al. 2021): a Faster R-CNN that is also trained on what its own average finds on unlabeled images.

As the released code has it, which PPAL's Fig. 6b goes by. Axes: B images of a batch, U of them unlabeled.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from alpl.boxes.objects import Objects
from alpl.boxes.warped import warp_boxes
from alpl.data.base import AbstractPoolDataModule
from alpl.data.batch import Batch
from alpl.data.scenes import SceneDataModule
from alpl.errors import ConfigError
from alpl.losses.positives import Losses, Step
from alpl.losses.soft_teacher import soft_class_loss
from alpl.modules.base import AbstractModule, no_loss
from alpl.modules.detector import AbstractTrainableDetector, Suppression
from alpl.modules.faster_rcnn import FasterRcnnDetector, FasterRcnnEnsemble, RegionFeatures, pairs_of
from alpl.modules.padding import input_sizes
from alpl.modules.pseudo_boxes import TeacherPass, within
from alpl.modules.training_means import TrainingMeans
from alpl.networks.faster_rcnn import FasterRcnn
from alpl.networks.proposals import propose
from alpl.predictions import Need, Predictions

_UNLABELED = "unlabeled_"


@final
@dataclass(frozen=True)
class Teaching:
    """How a teacher teaches; by default with the released code's numbers.

    Args:
        weight: of the losses on unlabeled images; 0 leaves them out, which is plain training on strong views.
        momentum: of the teacher's average after each step; the first ones have less: after step t (from 1) at most t /
            (t + 1), so that the teacher is at first the plain average of the student.
        score_thresh: a detection of the teacher with a higher score is looked at.
        sure_thresh: one with a higher score is an object for proposals and classes.
        variance_thresh: one of a lower variance is an object for boxes.
        jitters: how often a box is jittered to find its variance.
        jitter_scale: deviation of a corner, in widths and heights of its box.

    Raises:
        ConfigError: a value is out of range.
    """

    weight: float = 4.0
    momentum: float = 0.999
    score_thresh: float = 0.5
    sure_thresh: float = 0.9
    variance_thresh: float = 0.02
    jitters: int = 10
    jitter_scale: float = 0.06

    def __post_init__(self) -> None:
        for name in ("momentum", "score_thresh", "sure_thresh"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"model.teaching.{name} must be in [0, 1], got {getattr(self, name)}")
        for name in ("weight", "variance_thresh", "jitter_scale"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"model.teaching.{name} must be >= 0 and finite, got {getattr(self, name)}")
        if isinstance(self.jitters, bool) or not isinstance(self.jitters, int) or self.jitters < 2:
            raise ConfigError(f"model.teaching.jitters must be an int >= 2, got {self.jitters!r}")


@final
class SoftTeacherDetector(AbstractTrainableDetector):
    """A student, which is trained, tested and asked, and its teacher, which is the average of its weights.

    Batches hold labeled and unlabeled images (``data.labeled_fraction``) in two views (``data.pair``,
    ``data.labeled_pair``): the teacher sees the first views of unlabeled images, the student the second of all.

    Args:
        network: makes the network of each, see :class:`alpl.modules.faster_rcnn.FasterRcnnDetector`.
        num_classes: K.
        teaching: None for the usual numbers.
        features: see :class:`alpl.modules.faster_rcnn.FasterRcnnDetector`.
        options: see there.

    Raises:
        ConfigError: see there.
    """

    tells_positives = True

    def __init__(
        self,
        network: Callable[..., FasterRcnn],
        num_classes: int,
        *,
        teaching: Teaching | None = None,
        features: RegionFeatures = "head",
        **options: Any,
    ) -> None:
        super().__init__(num_classes=num_classes, **options)
        self.teaching = teaching or Teaching()
        self.student = FasterRcnnDetector(network, num_classes, features=features, **options)
        self.teacher = copy.deepcopy(self.student.network).requires_grad_(False)
        names = list(FasterRcnnDetector.loss_names.values())
        taught = [f"{_UNLABELED}{name}" for name in names] + ["pseudo_boxes"] if self.teaching.weight else []
        self.means = TrainingMeans([*names, *taught])

    @property
    def provides(self) -> Need:
        """What the student does."""
        return self.student.provides

    @property
    def asked(self) -> nn.Module:
        """The student."""
        return self.student

    @classmethod
    def ensemble(cls, members: Sequence[AbstractModule]) -> FasterRcnnEnsemble:
        """Ask trained students together."""
        return FasterRcnnEnsemble([member.student for member in members if isinstance(member, SoftTeacherDetector)])

    def check_data(self, data: AbstractPoolDataModule) -> None:
        """See the base class; unlabeled images and second views must be there."""
        assert isinstance(data, SceneDataModule), "data and model are of one task"
        if data.pair is None:
            raise ConfigError("data.pair must be given, as the student learns from second views, got null")
        if self.teaching.weight and data.labeled_fraction == 1:
            raise ConfigError(
                "data.labeled_fraction must be below 1 or 'random', as the student learns from unlabeled images, got "
                "1; model.teaching.weight=0 trains on labeled images alone"
            )

    def on_train_start(self) -> None:
        """Begin a fit with a teacher that is the student; one that is resumed goes on with its own."""
        if not self.trainer.global_step:
            average(self.teacher, self.student.network, 0.0)

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """Take a step, then the student into the average."""
        done = self.trainer.global_step
        super().optimizer_step(*arguments, **options)
        average(self.teacher, self.student.network, min(self.teaching.momentum, (done + 1) / (done + 2)))

    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        """Losses of images with targets, and ``teaching.weight`` times those of unlabeled ones, if there are any.

        Pseudo-labeled images count as labeled ones; the positives are those of labeled images all the same.
        """
        self.means.log(self)
        chosen = batch.has_targets
        step = Step(loss=no_loss(self), positives=None)
        if bool(chosen.any()):
            step = self._note(self._supervised(batch, chosen), "").step(batch.labeled[chosen])
        if not self.teaching.weight:
            return step
        if bool(chosen.all()):  # noted all the same: an average of nothing is none
            for name in (*(f"{_UNLABELED}{ours}" for ours in FasterRcnnDetector.loss_names.values()), "pseudo_boxes"):
                self.means.note(name, step["loss"].new_zeros(()))
            return step
        taught = self._note(self._taught(images_of(batch, ~chosen)), _UNLABELED).step(batch.labeled[~chosen])
        return Step(loss=step["loss"] + self.teaching.weight * taught["loss"], positives=step["positives"])

    def _note(self, losses: Losses, prefix: str) -> Losses:
        for theirs, ours in FasterRcnnDetector.loss_names.items():
            self.means.note(prefix + ours, losses.parts[theirs])
        return losses

    def _supervised(self, batch: Batch, chosen: Tensor) -> Losses:
        """Of the second views of the images that have targets (``Bool[B]``), at least one."""
        part = images_of(batch, chosen)
        second, warps = views_of(part)
        sizes = input_sizes(part)
        targets = []
        for row, (warp, size) in enumerate(zip(warps, sizes, strict=True)):
            objects = batch.targets.of(row)
            boxes = within(warp_boxes(objects.boxes, warp), size)
            moved = Objects(boxes, objects.labels, objects.difficult)
            moved = moved[moved.extended]
            targets.append({"boxes": moved.boxes, "labels": moved.labels + 1})
        network = self.student.network
        return network.losses(second, pairs_of(sizes), targets, tell_positives=self.wants_positives)

    def _taught(self, batch: Batch) -> Losses:
        """Of U unlabeled images: what the teacher finds in the first views is looked for in the second ones."""
        rules, network = self.teaching, self.student.network
        second, warps = views_of(batch)
        sizes = input_sizes(batch)
        teacher = TeacherPass(self.teacher, batch)
        found = teacher.pseudo_boxes(self._looked_at(), rules.jitters, rules.jitter_scale)
        seen = [each.seen(warp, size) for each, warp, size in zip(found, warps, sizes, strict=True)]
        sure = [each.at(each.scores > rules.sure_thresh).targets() for each in seen]
        steady = [each.at(each.variances < rules.variance_thresh).targets() for each in seen]
        self.means.note("pseudo_boxes", second.new_tensor(sum(len(each["labels"]) for each in sure) / len(sure)))
        maps = network.backbone(second)
        shown = ImageList(second, pairs_of(sizes))
        proposals, (parts, _) = propose(network.rpn, list(maps.values()), shown, sure)
        asked = network.sampled(maps, second, proposals, sure)
        background = teacher.background(asked.sampled.regions, warps)
        parts["loss_classifier"] = soft_class_loss(network.class_losses(asked), asked.labels, background)
        asked = network.sampled(maps, second, proposals, steady)
        parts["loss_box_reg"] = network.box_losses(asked).sum() / len(asked.labels)
        return Losses(parts, None, None)

    def _looked_at(self) -> Suppression:
        return replace(self.evaluation, score_thresh=self.teaching.score_thresh)

    def detect(self, batch: Batch, suppression: Suppression, needs: Need) -> Predictions:
        """See the base class: the student's."""
        return self.student.detect(batch, suppression, needs)


@torch.no_grad()
def average(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Move a teacher's weights to ``momentum`` times themselves and the rest of the student's; batch norms too.

    Whole ones, such as counts of batches, are the student's.
    """
    theirs = student.state_dict()
    for name, value in teacher.state_dict().items():
        if value.is_floating_point():
            value.lerp_(theirs[name], 1 - momentum)
        else:
            value.copy_(theirs[name])


def images_of(batch: Batch, chosen: Tensor) -> Batch:
    """``Bool[B]`` -> a batch of these images alone, without targets."""
    optional = {name: getattr(batch, name) for name in ("sizes", "shapes", "second", "warp")}
    kept: dict[str, Any] = {name: None if value is None else value[chosen] for name, value in optional.items()}
    given: dict[str, Any] = {name: getattr(batch, name)[chosen] for name in ("images", "index", "labeled")}
    return Batch(**given, **kept, targets=None, augment=batch.augment)


def views_of(batch: Batch) -> tuple[Tensor, Tensor]:
    """``Float[B 3 H W]`` and ``Float32[B 3 3]``: the second views, and how they were reached."""
    assert batch.second is not None and batch.warp is not None, "check_data() has seen that there are second views"
    return batch.second, batch.warp.float()
