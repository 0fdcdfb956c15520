"""Looks, while a backbone is pre-trained, how well its features tell the classes apart: no gradient comes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, final

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from alpl.metrics.nearest_neighbors import neighbor_classes
from alpl.modules.simsiam import SimSiam, features_of

_BATCH = 500  # images at a time
NAME = "neighbors/accuracy"


class Known(NamedTuple):
    """Images ``UInt8[N C H W]`` and their classes ``Long[N]``."""

    images: Tensor
    targets: Tensor


@final
class NeighborCheck(Callback):
    """Adds the accuracy of the test images' nearest training images to the epoch's values; process 0 does it alone.

    Must come before the callback that writes them.

    Args:
        train: images whose classes are known.
        test: likewise.
        prepare: images -> the network's input.
        num_classes: K.
        every: epochs; the last one is looked at in any case.
        k: neighbors that vote.
    """

    def __init__(
        self, train: Known, test: Known, prepare: Callable[[Tensor], Tensor], num_classes: int, *, every: int, k: int
    ) -> None:
        self.train, self.test = train, test
        self.prepare = prepare
        self.num_classes = num_classes
        self.every, self.k = every, k

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look, if it is time."""
        number = trainer.current_epoch + 1
        values = trainer.callback_metrics  # of all processes, which must all ask
        if not trainer.is_global_zero or (number % self.every and number != trainer.max_epochs):
            return
        assert isinstance(pl_module, SimSiam), "nothing else is pre-trained"
        bank, seen = (self._features(pl_module, known.images) for known in (self.train, self.test))
        classes = neighbor_classes(seen, bank, self.train.targets, self.num_classes, k=self.k)
        right = (classes.cpu() == self.test.targets).float().mean()
        values[NAME] = right

    def _features(self, module: SimSiam, images: Tensor) -> Tensor:
        parts = images.split(_BATCH)
        return torch.cat([features_of(module, self.prepare(part.to(module.device))) for part in parts])
