"""Seeds every epoch afresh, so that an epoch's draws do not depend on how its process came to it."""

from __future__ import annotations

from typing import final

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from alpl.machine.seeding import derive_seed


@final
class EpochSeed(Callback):
    """At the start of each epoch, seeds torch from (seed, cycle, member, epoch, process).

    Augmentation and dropout draw from torch's global state. A fit that was killed and goes on at epoch e draws what
    the undisturbed fit would have drawn there.

    Args:
        seed: of the fit; derived from run, cycle and member.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed."""
        torch.manual_seed(derive_seed(self.seed, "epoch", trainer.current_epoch, trainer.global_rank))
