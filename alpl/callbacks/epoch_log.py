"""What the module logs, epoch by epoch, as a CSV in the cycle's folder and to the run's logger."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, final

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from alpl.machine.files import whole_file

LogEpoch: TypeAlias = Callable[[int, dict[str, float]], None]


@final
class EpochLog(Callback):
    """Keeps a row an epoch: ``epoch``, ``lr`` and whatever the module logged; writes them whole at each epoch's end.

    Args:
        path: the CSV.
        tell: called with the epoch and its values on process 0.
    """

    def __init__(self, path: Path, tell: LogEpoch) -> None:
        self.path = path
        self.tell = tell  # not `log`: Lightning puts its own there
        self.rows: list[dict[str, float]] = []
        self._lr = 0.0

    def state_dict(self) -> dict[str, Any]:
        """The rows so far travel in the checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on behind the rows of the checkpoint."""
        self.rows = list(state_dict["rows"])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the learning rate, as the schedule steps before the epoch's end, and forget the last epoch's values."""
        self._lr = float(trainer.optimizers[0].param_groups[0]["lr"])
        trainer.callback_metrics.clear()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch's row."""
        values = {"lr": self._lr}
        values |= {name: float(value) for name, value in trainer.callback_metrics.items()}  # all processes take part
        if not trainer.is_global_zero:
            return
        self.rows.append({"epoch": trainer.current_epoch, **values})
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with whole_file(self.path) as stream:
            writer = csv.DictWriter(stream, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        self.tell(trainer.current_epoch, values)
