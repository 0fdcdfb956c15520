"""Image classification.

Axes: B images of a batch, K classes, F features, V views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanMetric

from alpl.config.partial_parts import complete
from alpl.data.batch import Batch
from alpl.data.batch_norm import is_of_single_value
from alpl.errors import ConfigError
from alpl.machine.files import read_tensors
from alpl.metrics.accuracy import TestAccuracy
from alpl.modules.base import AbstractModule, AbstractTrainableModule, no_loss
from alpl.modules.dropout import dropouts, dropped
from alpl.modules.ensemble import ClassifierEnsemble
from alpl.networks.classification import ClassificationNetwork
from alpl.predictions import Need, Posterior, Predictions


@final
class Classifier(AbstractTrainableModule):
    """Cross-entropy on the labeled images of each batch; softmax posteriors, features and dropout views.

    Args:
        network: makes the network from ``num_classes`` and ``in_channels``.
        num_classes: K.
        in_channels: channels of an image.
        num_passes: dropout passes where views are asked for (MC-dropout), V.
        weights: a file with the state dict of such a network to start from, or null. A head for another number of
            classes is left out; every other difference is an error.
        options: optimizer, scheduler, scheduler_interval, see :class:`AbstractTrainableModule`.

    Raises:
        ConfigError: ``weights`` does not fit the network.
    """

    def __init__(
        self,
        network: Callable[..., ClassificationNetwork],
        num_classes: int,
        in_channels: int,
        *,
        num_passes: int = 10,
        weights: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if num_passes < 1:
            raise ConfigError(f"model.num_passes must be >= 1, got {num_passes}")
        self.network = complete(network, "model.network", num_classes=num_classes, in_channels=in_channels)
        self.num_passes = num_passes
        self.num_classes = num_classes
        self.train_loss = MeanMetric()  # over all images of all processes, however many each had
        self.val_loss = MeanMetric()
        self.val_accuracy = MeanMetric()
        self.accuracy = TestAccuracy(num_classes)
        if weights is not None:
            load_network(self.network, Path(weights))

    @property
    def provides(self) -> Need:
        """Posterior, logits and features; views where the network has dropout."""
        views = Need.VIEWS if dropouts(self.network) else Need.NOTHING
        return Need.POSTERIOR | Need.LOGITS | Need.IMAGE_FEATURES | views

    @classmethod
    def ensemble(cls, members: Sequence[AbstractModule]) -> ClassifierEnsemble:
        """Ask trained members together."""
        first = members[0]
        assert isinstance(first, Classifier), "all members come from one config"
        return ClassifierEnsemble(members, first.num_classes)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross-entropy, mean over the labeled and pseudo-labeled images; zero where there is none.

        Zero also where batches are drawn from all images and this one happens to hold one labeled image, if the
        network's batch norm cannot take one image, as its maps have one pixel.
        """
        images = batch.images[batch.has_targets]
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True)
        if not len(images):
            return no_loss(self)
        try:
            logits, _ = self.network(images)
        except ValueError as error:
            if len(batch.images) == 1 or not is_of_single_value(error):
                raise
            return no_loss(self)
        loss = F.cross_entropy(logits, batch.targets)
        self.train_loss.update(loss.detach(), len(images))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log loss and accuracy on the validation images."""
        logits, _ = self.network(batch.images)
        self.val_loss.update(F.cross_entropy(logits, batch.targets), len(batch.images))
        self.val_accuracy.update((logits.argmax(1) == batch.targets).float(), 1.0)
        self.log("val/loss", self.val_loss, on_step=False, on_epoch=True)
        self.log("val/accuracy", self.val_accuracy, on_step=False, on_epoch=True)

    def predict_batch(self, batch: Batch, needs: Need) -> Predictions:
        """See the base class. I = N = B."""
        logits, features = self.network(batch.images)
        probs = logits.float().softmax(-1)
        confidence = probs.max(-1)
        views = self._views(batch.images, features) if Need.VIEWS in needs else None
        return Predictions(
            index=batch.index,
            row=torch.arange(len(batch.index), device=batch.index.device),
            posterior=Posterior(probs) if Need.POSTERIOR in needs else None,
            labels=confidence.indices,
            scores=confidence.values,
            image_features=features.float() if Need.IMAGE_FEATURES in needs else None,
            views=views,
            logits=logits.float() if Need.LOGITS in needs else None,
        )

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count."""
        self.accuracy.update(self.predict_batch(batch, Need.NOTHING).labels, batch.targets)

    def test_results(self) -> dict[str, Any]:
        """``test/accuracy`` in [0, 1] and ``test/accuracy_per_class``, K of them."""
        return self.accuracy.results()

    def _views(self, images: Tensor, features: Tensor) -> Posterior:
        """Give the posteriors of ``num_passes`` passes with dropout on and batch norm as in evaluation."""
        with dropped(self.network) as active:
            only_head = all(layer is self.network.dropout for layer in active)  # then every pass has the same features
            passes = [
                self.network.head(self.network.dropout(features)) if only_head else self.network(images)[0]
                for _ in range(self.num_passes)
            ]
        return Posterior(torch.stack(passes).float().softmax(-1))


def load_network(network: ClassificationNetwork, path: Path) -> None:
    """Load a state dict into a network; see ``weights`` of :class:`Classifier`.

    The file may hold the network's own state, or that of a whole module (names that begin with ``network.``).

    Raises:
        ConfigError: names or shapes differ elsewhere than in the head.
    """
    state = {name.removeprefix("network."): value for name, value in read_tensors(path).items()}
    own = network.state_dict()
    head = {name for name in own if name.startswith("head.")}
    for name in head & state.keys():
        if state[name].shape != own[name].shape:
            del state[name]
    wrong = sorted((own.keys() ^ state.keys()) - head)
    wrong += sorted(name for name in own.keys() & state.keys() if own[name].shape != state[name].shape)
    if wrong:
        raise ConfigError(f"model.weights must fit the network, {path} differs in {len(wrong)} tensors: {wrong[:3]}")
    network.load_state_dict(state, strict=False)
