"""The checkpoint from which a killed fit goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, final

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from alpl.machine.files import replace_with
from alpl.machine.interruption import Interrupted, Interruption


@final
class ResumeCheckpoint(Checkpoint):
    """Writes the whole state of the fit at the end of an epoch, at most every so many seconds; whole or not at all.

    As a ``Checkpoint`` it runs behind all other callbacks of the epoch's end, so their state is that of the epoch.

    Args:
        path: the file, replaced each time.
        every_seconds: least time between two checkpoints; 0 for one every epoch.
        interruption: knows of a cluster's warnings: then every epoch ends with a checkpoint, and the run leaves.
    """

    def __init__(self, path: Path, every_seconds: float, interruption: Interruption) -> None:
        self.path = path
        self.every_seconds = every_seconds
        self.interruption = interruption
        self._last = time.monotonic()
        self._max_steps = -1
        self._max_epochs: int | None = -1
        self._stopping = False

    def state_dict(self) -> dict[str, Any]:
        """Whether the fit was stopped early at this epoch's end; Lightning itself forgets it."""
        return {"stopping": self._stopping}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with a fit that was stopped, or not."""
        self._stopping = bool(state_dict["stopping"])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hide ``max_steps`` and ``max_epochs`` while the loops are restored.

        Lightning restores a fit that counts steps as if it had been killed within an epoch, and ends that epoch again.
        And of a fit that was killed when its last epoch was over, it would not tell callbacks the end.
        """
        self._max_steps, self._max_epochs = trainer.max_steps, trainer.fit_loop.max_epochs
        trainer.fit_loop.epoch_loop.max_steps = -1
        trainer.fit_loop.max_epochs = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count steps from here; a fit that was stopped early, and then killed, does not train another epoch."""
        trainer.fit_loop.epoch_loop.max_steps = self._max_steps
        trainer.fit_loop.max_epochs = self._max_epochs
        trainer.should_stop = trainer.should_stop or self._stopping

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write, if it is time, and leave, if the time is up; process 0 decides for all.

        Raises:
            Interrupted: the run leaves.
        """
        self._stopping = trainer.should_stop
        due = self.interruption.ending or time.monotonic() - self._last >= self.every_seconds
        due, leaving = trainer.strategy.broadcast((due, self.interruption.leaving))
        if due:
            self._write(trainer)
        if leaving:
            raise Interrupted

    def _write(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            replace_with(self.path, trainer.save_checkpoint)
        else:
            trainer.save_checkpoint(self.path)  # writes nothing here, but takes part in the barrier
        self._last = time.monotonic()
