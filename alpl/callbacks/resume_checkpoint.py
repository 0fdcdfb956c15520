"""The checkpoint from which a killed fit goes on."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from alpl.machine.files import whole_file
from alpl.machine.interruption import Interrupted, Interruption


@final
class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its target, whole; Lightning's own goes through TMPDIR, which may be small."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write one."""
        with whole_file(Path(path), "wb") as stream:
            torch.save(checkpoint, stream)


def usable(path: Path, say: Callable[[str], None]) -> Path | None:
    """Give a checkpoint that is whole, None where there is none; a broken one is told, and no fit goes on from it."""
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:  # as torch writes it, with a checksum of each tensor
            broken = archive.testzip()
    except Exception as error:  # broken bytes make zipfile raise anything
        broken = f"{type(error).__name__}: {error}"
    if broken is None:
        return path
    say(f"{path} is broken ({broken}): the fit begins anew")
    return None


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

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have checkpoints written beside their target."""
        trainer.strategy.checkpoint_io = WholeCheckpoints()

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
        due, leaving = trainer.strategy.broadcast((due, self.interruption.status))
        if due:
            self._write(trainer)
        if leaving:
            raise Interrupted(leaving)

    def _write(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self._last = time.monotonic()
