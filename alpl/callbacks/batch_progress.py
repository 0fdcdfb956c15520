"""The epoch and the batch at work, in fits, tests and predictions, for the progress that a person sees."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, final

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from alpl.machine.progress import Progress


@final
class BatchProgress(Callback):
    """Tells a :class:`Progress` the epoch and the batch, at most twice a second."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._told = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the epoch."""
        self._tell(_epoch(trainer))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell the batch of the epoch."""
        if self._is_due():
            self._tell(f"{_epoch(trainer)}, {_batch(batch_idx, [trainer.num_training_batches])}")

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Tell the batch of the validation within an epoch."""
        if self._is_due():
            self._tell(f"{_epoch(trainer)}, validation {_batch(batch_idx, trainer.num_val_batches)}")

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Tell the batch of the test."""
        if self._is_due():
            self._tell(_batch(batch_idx, trainer.num_test_batches))

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Tell the batch of the prediction."""
        if self._is_due():
            self._tell(_batch(batch_idx, trainer.num_predict_batches))

    def _is_due(self) -> bool:
        return time.monotonic() - self._told > 0.5

    def _tell(self, detail: str) -> None:
        self._told = time.monotonic()
        self._progress.within(detail)


def _epoch(trainer: Trainer) -> str:
    epochs = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
    steps = f", step {trainer.global_step}/{trainer.max_steps}" if trainer.max_steps > 0 else ""
    return f"epoch {trainer.current_epoch + 1}{epochs}{steps}"


def _batch(number: int, of: Sequence[int | float]) -> str:
    return f"batch {number + 1}/{sum(of)}"
