"""Image classification.

Axes: B images of a batch, K classes, F features, V views.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanMetric
from typing_extensions import Self

from alpl.config.partial_parts import complete
from alpl.data.base import AbstractPoolDataModule
from alpl.data.batch import Batch
from alpl.data.batch_norm import is_of_single_value
from alpl.data.datamodule import ImageDataModule
from alpl.errors import ConfigError
from alpl.metrics.accuracy import TestAccuracy
from alpl.metrics.weighted_mean import WeightedMean
from alpl.modules.base import AbstractModule, AbstractTrainableModule, no_loss
from alpl.modules.dropout import dropouts, dropped
from alpl.modules.ensemble import ClassifierEnsemble
from alpl.modules.loss_ranks import rank_losses
from alpl.modules.training_passes import training_passes
from alpl.networks.classification import ClassificationNetwork
from alpl.networks.initial_weights import load_network
from alpl.networks.loss_prediction import LossPrediction
from alpl.predictions import Need, Posterior, Predictions


@final
class Classifier(AbstractTrainableModule):
    r"""Cross-entropy on the labeled images of each batch; softmax posteriors, features and dropout views.

    .. math:: L = \frac1n \sum_i l_i + \lambda\, L_{rank}

    with the cross-entropy l of each image, and the ranking loss of Yoo and Kweon 2019 (Eq. 2, 3) where losses are
    predicted.

    Args:
        network: makes the network from ``num_classes`` and ``in_channels``.
        num_classes: K.
        in_channels: channels of an image.
        num_passes: passes where views are asked for, V.
        views: what these passes are: ``dropout`` (MC-dropout), or ``training``: as in training, with the statistics of
            the batch and the images augmented anew, as the released code of thesis ch. 4 has them for BALD.
        weights: a file with the state dict of such a network or of its backbone to start from, or null; see
            :func:`alpl.networks.initial_weights.load_network`. A head for other classes is left out; every other
            difference is an error.
        frozen: whether the backbone stays what it starts from, batch norm as in evaluation: the head alone learns.
        loss_prediction: makes a module that predicts the loss of images from ``channels``, of the maps that the
            backbone names as its stages; None for none.
        options: optimizer, scheduler, scheduler_interval, see :class:`AbstractTrainableModule`.

    Raises:
        ConfigError: ``weights`` does not fit the network, ``views`` is unknown, or losses are to be predicted from a
            backbone that names no stages.
    """

    static_parts = ("network",)
    frozen = False  # until the constructor knows

    def __init__(
        self,
        network: Callable[..., ClassificationNetwork],
        num_classes: int,
        in_channels: int,
        *,
        num_passes: int = 10,
        views: Literal["dropout", "training"] = "dropout",
        weights: str | None = None,
        frozen: bool = False,
        loss_prediction: Callable[..., LossPrediction] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if num_passes < 1:
            raise ConfigError(f"model.num_passes must be >= 1, got {num_passes}")
        if not isinstance(frozen, bool):
            raise ConfigError(f"model.frozen must be true or false, got {frozen!r}")
        self.network = complete(network, "model.network", num_classes=num_classes, in_channels=in_channels)
        if views not in ("dropout", "training"):
            raise ConfigError(f"model.views must be dropout or training, got {views!r}")
        self.num_passes, self.views = num_passes, views
        self.num_classes = num_classes
        self.train_loss = WeightedMean()  # over all images of all processes, however many each had
        self.val_loss = MeanMetric()
        self.val_accuracy = MeanMetric()
        self.accuracy = TestAccuracy(num_classes)
        self.loss_prediction = None if loss_prediction is None else self._predictor(loss_prediction)
        self.ranking_loss = MeanMetric()
        if weights is not None:
            load_network(self.network, Path(weights))
        self.frozen = frozen
        if frozen:
            self.network.backbone.requires_grad_(False)
            self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a frozen backbone stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.network.backbone.eval()
        return self

    def load_backbone(self, state: Mapping[str, Tensor]) -> None:
        """See the base class."""
        own = self.network.backbone.state_dict()
        wrong = sorted(own.keys() ^ state.keys())
        wrong += sorted(name for name in own.keys() & state.keys() if own[name].shape != state[name].shape)
        if wrong:
            raise ConfigError(
                f"pretrained must fit model.network.backbone, differs in {len(wrong)} tensors: {wrong[:3]}"
            )
        self.network.backbone.load_state_dict(dict(state))

    def _predictor(self, make: Callable[..., LossPrediction]) -> LossPrediction:
        stages = self.network.stages
        if not stages:
            raise ConfigError(
                "model.loss_prediction needs a backbone that names its stages (the ResNets and SmallCnn do), got "
                f"{type(self.network.backbone).__name__}"
            )
        return make(channels=tuple(stages.values()))

    @property
    def provides(self) -> Need:
        """Posterior, logits and features; views where passes differ, losses where they are predicted."""
        views = Need.VIEWS if self.views == "training" or dropouts(self.network) else Need.NOTHING
        loss = Need.NOTHING if self.loss_prediction is None else Need.PREDICTED_LOSS
        return Need.POSTERIOR | Need.LOGITS | Need.IMAGE_FEATURES | views | loss

    def check_data(self, data: AbstractPoolDataModule) -> None:
        """See the base class; for ``views=training`` the pool is shown as training sees it."""
        if self.views == "training" and not (isinstance(data, ImageDataModule) and data.pool_transform == "training"):
            raise ConfigError(
                "data.pool_transform must be training where model.views is: else nothing tells the passes apart"
            )

    @classmethod
    def ensemble(cls, members: Sequence[AbstractModule]) -> ClassifierEnsemble:
        """Ask trained members together."""
        first = members[0]
        assert isinstance(first, Classifier), "all members come from one config"
        return ClassifierEnsemble(members, first.num_classes)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross-entropy, mean over the labeled and pseudo-labeled images; zero where there is none.

        Where losses are predicted, the weighted ranking loss of the labeled images comes to it.

        Zero also where batches are drawn from all images and this one happens to hold one labeled image, if the
        network's batch norm cannot take one image, as its maps have one pixel.
        """
        images = batch.images if batch.complete else batch.images[batch.has_targets]  # a mask waits for the device
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True)
        if self.loss_prediction is not None:
            self.log("train/ranking_loss", self.ranking_loss, on_step=False, on_epoch=True)
        if not len(images):
            return no_loss(self)
        try:
            logits, _, maps = self._pass(images, with_maps=self.loss_prediction is not None)
        except ValueError as error:
            if len(batch.images) == 1 or not is_of_single_value(error):
                raise
            return no_loss(self)
        loss = F.cross_entropy(logits, batch.targets)
        self.train_loss.update(loss.detach(), len(images))
        if self.loss_prediction is None:
            return loss
        each = F.cross_entropy(logits.detach().float(), batch.targets, reduction="none")
        ranking = rank_losses(self, self.loss_prediction, maps, each, batch.labeled[batch.has_targets])
        self.ranking_loss.update(ranking.detach())
        return loss + self.loss_prediction.weight * ranking

    def _pass(self, images: Tensor, *, with_maps: bool) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Give logits ``[B K]``, features ``[B F]``, and the maps of the stages or none."""
        if with_maps:
            return self.network.with_maps(images)
        logits, features = self.network(images)
        return logits, features, []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log loss and accuracy on the validation images."""
        logits, _ = self.network(batch.images)
        self.val_loss.update(F.cross_entropy(logits, batch.targets), len(batch.images))
        self.val_accuracy.update((logits.argmax(1) == batch.targets).float(), 1.0)
        self.log("val/loss", self.val_loss, on_step=False, on_epoch=True)
        self.log("val/accuracy", self.val_accuracy, on_step=False, on_epoch=True)

    def predict_batch(self, batch: Batch, needs: Need) -> Predictions:
        """See the base class. I = N = B."""
        prediction = self.loss_prediction if Need.PREDICTED_LOSS in needs else None
        logits, features, maps = self._pass(batch.images, with_maps=prediction is not None)
        probs = logits.float().softmax(-1)
        confidence = probs.max(-1)
        views = self._views(batch, features) if Need.VIEWS in needs else None
        return Predictions(
            index=batch.index,
            row=torch.arange(len(batch.index), device=batch.index.device),
            posterior=Posterior(probs) if Need.POSTERIOR in needs else None,
            labels=confidence.indices,
            scores=confidence.values,
            image_features=features.float() if Need.IMAGE_FEATURES in needs else None,
            views=views,
            logits=logits.float() if Need.LOGITS in needs else None,
            predicted_loss=None if prediction is None else prediction(maps),
        )

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count."""
        self.accuracy.update(self.predict_batch(batch, Need.NOTHING).labels, batch.targets)

    def test_results(self) -> dict[str, Any]:
        """``test/accuracy`` in [0, 1] and ``test/accuracy_per_class``, K of them."""
        return self.accuracy.results()

    def _views(self, batch: Batch, features: Tensor) -> Posterior:
        """Posteriors of ``num_passes`` passes: with dropout on and batch norm as in evaluation, or as in training."""
        if self.views == "training":
            passes = training_passes(self, lambda images: self.network(images)[0], batch, self.num_passes)
            return Posterior(torch.stack(passes).float().softmax(-1))
        with dropped(self.network) as active:
            only_head = all(layer is self.network.dropout for layer in active)  # then every pass has the same features
            passes = [
                self.network.logits(features) if only_head else self.network(batch.images)[0]
                for _ in range(self.num_passes)
            ]
        return Posterior(torch.stack(passes).float().softmax(-1))
