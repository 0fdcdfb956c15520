"""What detectors share that learn from images with targets and from no others."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

from torch import Tensor

from alpl.boxes.objects import Objects
from alpl.data.batch import Batch
from alpl.losses.positives import Losses, Step
from alpl.modules.base import no_loss
from alpl.modules.detector import AbstractTrainableDetector, input_sizes
from alpl.modules.training_means import TrainingMeans


class AbstractSupervisedDetector(AbstractTrainableDetector):
    """Base of detectors whose training step is the sum of the losses that torchvision gives of images with targets.

    Args:
        options: see :class:`alpl.modules.detector.AbstractTrainableDetector`.
    """

    loss_names: ClassVar[Mapping[str, str]]
    """Our name of each of torchvision's losses."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.means = TrainingMeans(self.loss_names.values())

    @abstractmethod
    def losses_of(self, images: Tensor, sizes: Tensor, objects: Sequence[Objects]) -> Losses:
        """Give the losses under torchvision's names, and positives where :attr:`wants_positives` is set.

        Args:
            images: ``Float[n 3 H W]``, padded; n of a batch have targets, at least one.
            sizes: ``Long[n 2]``, height and width of each image within the padded input.
            objects: n.
        """

    @final
    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        """Sum of the losses of the images that have targets, zero where there is none.

        Pseudo-labeled images count as labeled ones: what is not among their objects is background. The positives are
        those of labeled images all the same.
        """
        self.means.log(self)
        chosen = batch.has_targets
        images, sizes = batch.images[chosen], input_sizes(batch)[chosen]
        if not len(images):
            return Step(loss=no_loss(self), positives=None)
        found = self.losses_of(images, sizes, [batch.targets.of(row) for row in range(len(images))])
        for theirs, ours in self.loss_names.items():
            self.means.note(ours, found.parts[theirs])
        return found.step(batch.labeled[chosen])
