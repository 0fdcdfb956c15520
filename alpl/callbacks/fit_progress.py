"""The epoch and the batch at work, for the progress that a person sees."""

from __future__ import annotations

import time
from typing import Any, final

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from alpl.machine.progress import Progress


@final
class FitProgress(Callback):
    """Tells a :class:`Progress` the epoch, and within long epochs the batch."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._shown = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the epoch."""
        self._show(trainer, 0)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the batch, at most twice a second."""
        if time.monotonic() - self._shown > 0.5:
            self._show(trainer, batch_idx + 1)

    def _show(self, trainer: Trainer, batch: int) -> None:
        self._shown = time.monotonic()
        epochs = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
        steps = f", step {trainer.global_step}/{trainer.max_steps}" if trainer.max_steps > 0 else ""
        batches = f", batch {batch}/{trainer.num_training_batches}" if batch else ""
        self._progress.within(f"epoch {trainer.current_epoch + 1}{epochs}{steps}{batches}")
