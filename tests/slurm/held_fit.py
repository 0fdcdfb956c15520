"""Holds a job of a test's cluster in its first fit, until the test lets it go on."""

import os
import time
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

FOLDER = "ALPL_TEST_HOLD"  # where the files of the jobs that are held, and of those that may go on, lie
TASKS = "ALPL_TEST_HELD_TASKS"  # numbers in the array, with commas


class HeldFit(Callback):
    """In its second epoch, so that a checkpoint of the first one is there; not again when it was requeued."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch != 1 or FOLDER not in os.environ or "SLURM_ARRAY_TASK_ID" not in os.environ:
            return
        task, restarts = os.environ["SLURM_ARRAY_TASK_ID"], os.environ.get("SLURM_RESTART_COUNT", "0")
        if restarts != "0" or task not in os.environ[TASKS].split(","):
            return
        folder = Path(os.environ[FOLDER])
        (folder / f"held_{task}").touch()
        while not (folder / f"free_{task}").exists():
            time.sleep(0.05)
