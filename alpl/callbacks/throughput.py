"""How many images a second went through a fit or a prediction, and how much of the time it waited for them."""

from __future__ import annotations

import time
from typing import Any, final

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from alpl.data.batch import BatchLoader


@final
class Throughput(Callback):
    """Counts images and seconds of the batches of a fit or a prediction; of what process 0 saw, times the processes.

    Seconds are those between the begin of an epoch and the end of its last batch: validation, tracking and checkpoints
    are not in it. A GPU is waited for once an epoch. A fit that was resumed tells of its last process.
    """

    def __init__(self) -> None:
        self.images = 0
        self.seconds = 0.0
        self.waited = 0.0
        self.memory: int | None = None
        self._begun: float | None = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin."""
        self._begin(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Go on after a validation within an epoch."""
        if self._begun is None:
            self._begin(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count."""
        self.images += len(batch.index) * trainer.world_size

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End, where an epoch's validation comes before the end of the epoch."""
        self._end(trainer, trainer.train_dataloader)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End."""
        self._end(trainer, trainer.train_dataloader)

    def on_predict_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin."""
        self._begin(trainer)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count."""
        self.images += len(batch.index) * trainer.world_size

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End."""
        self._end(trainer, trainer.predict_dataloaders)

    @property
    def note(self) -> dict[str, Any]:
        """For the stage's line in the journal: images, images a second, share of time that waited for data, bytes.

        The bytes are the most that torch had allocated of a GPU's memory; empty where nothing was counted.
        """
        if not self.images or self.seconds <= 0:
            return {}
        rate, waiting = round(self.images / self.seconds, 1), round(self.waited / self.seconds, 4)
        told = {"images": self.images, "images_per_second": rate, "waiting": waiting}
        return told if self.memory is None else told | {"gpu_bytes": self.memory}

    def _begin(self, trainer: Trainer) -> None:
        device = trainer.strategy.root_device
        if device.type == "cuda" and self.memory is None:
            torch.cuda.reset_peak_memory_stats(device)
        self._begun = time.perf_counter()

    def _end(self, trainer: Trainer, loader: Any) -> None:
        if self._begun is None:
            return
        device = trainer.strategy.root_device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            self.memory = torch.cuda.max_memory_allocated(device)
        self.seconds += time.perf_counter() - self._begun
        self._begun = None
        if isinstance(loader, BatchLoader):
            self.waited += loader.take_waited()
