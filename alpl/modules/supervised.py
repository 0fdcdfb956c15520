"""What detectors share that learn from images with targets and from no others."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, final

from torch import Tensor

from alpl.boxes.objects import Objects
from alpl.data.batch import Batch
from alpl.losses.positives import Losses, Step
from alpl.modules.base import no_loss
from alpl.modules.detector import AbstractTrainableDetector
from alpl.modules.loss_ranks import rank_losses
from alpl.modules.padding import input_sizes, pooled_maps
from alpl.modules.training_means import TrainingMeans
from alpl.networks.loss_prediction import LossPrediction
from alpl.predictions import Need


class AbstractSupervisedDetector(AbstractTrainableDetector):
    """Base of detectors whose training step is the sum of the losses that torchvision gives of images with targets.

    Args:
        map_channels: of each map that a loss prediction module would look at; none where the detector shows none.
        loss_prediction: makes a module that predicts the loss of images from ``channels``; None for none.
        options: see :class:`alpl.modules.detector.AbstractTrainableDetector`.

    Raises:
        ConfigError: losses are to be predicted from no map.
    """

    loss_names: ClassVar[Mapping[str, str]]
    """Our name of each of torchvision's losses."""

    def __init__(
        self,
        *,
        map_channels: Sequence[int] = (),
        loss_prediction: Callable[..., LossPrediction] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.loss_prediction = None if loss_prediction is None else loss_prediction(channels=map_channels)
        ranking = [] if loss_prediction is None else ["ranking_loss"]
        self.means = TrainingMeans([*self.loss_names.values(), *ranking])

    @abstractmethod
    def losses_of(self, images: Tensor, sizes: Tensor, objects: Sequence[Objects]) -> Losses:
        """Give the losses under torchvision's names, and positives where :attr:`wants_positives` is set.

        Where there is a :attr:`loss_prediction`, also the loss of each image by itself, and the maps.

        Args:
            images: ``Float[n 3 H W]``, padded; n of a batch have targets, at least one.
            sizes: ``Long[n 2]``, height and width of each image within the padded input.
            objects: n.
        """

    def join_without_targets(self) -> None:
        """Take part in what processes do together in a step, where this one has no image with targets; else nothing."""

    @final
    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        """Sum of the losses of the images that have targets, zero where there is none.

        Where losses are predicted, the weighted ranking loss of the labeled images comes to it.

        Pseudo-labeled images count as labeled ones: what is not among their objects is background. The positives are
        those of labeled images all the same.
        """
        self.means.log(self)
        chosen = batch.has_targets
        images, sizes = batch.images[chosen], input_sizes(batch)[chosen]
        if not len(images):
            self.join_without_targets()
            return Step(loss=no_loss(self), positives=None)
        found = self.losses_of(images, sizes, [batch.targets.of(row) for row in range(len(images))])
        for theirs, ours in self.loss_names.items():
            self.means.note(ours, found.parts[theirs])
        if self.loss_prediction is not None:
            found.parts["ranking_loss"] = self._ranking_loss(self.loss_prediction, found, batch)
        return found.step(batch.labeled[chosen])

    def _ranking_loss(self, prediction: LossPrediction, found: Losses, batch: Batch) -> Tensor:
        """Give it with its weight."""
        assert found.per_image is not None and found.maps, "a detector that takes loss_prediction gives both"
        chosen = batch.has_targets
        shapes = None if batch.shapes is None else batch.shapes[chosen]
        maps = pooled_maps(found.maps, batch._replace(images=batch.images[chosen], shapes=shapes))
        ranking = rank_losses(self, prediction, maps, found.per_image, batch.labeled[chosen])
        self.means.note("ranking_loss", ranking)
        return prediction.weight * ranking

    @final
    @property
    def predicts_losses(self) -> Need:
        """``Need.PREDICTED_LOSS`` where it can, else nothing."""
        return Need.NOTHING if self.loss_prediction is None else Need.PREDICTED_LOSS

    @final
    def predicted_loss(self, maps: Sequence[Tensor], batch: Batch, needs: Need) -> Tensor | None:
        """``Float[B]`` of the maps of a batch; None where it is not asked for, or cannot be told."""
        if self.loss_prediction is None or Need.PREDICTED_LOSS not in needs:
            return None
        predicted: Tensor = self.loss_prediction(pooled_maps(maps, batch))
        return predicted
