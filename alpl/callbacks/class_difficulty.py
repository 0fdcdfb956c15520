"""How hard each class is while the detector trains (PPAL sec. 3.2, Eq. 1 to 3)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, final

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from alpl.callbacks.base import AbstractProvider
from alpl.errors import ConfigError
from alpl.losses.difficulty import Absent, training_difficulty, update_difficulty
from alpl.losses.positives import Positives
from alpl.machine.files import read_csv, reading, whole_file
from alpl.modules.base import AbstractTrainableModule
from alpl.predictions import Need
from alpl.runs.results import DIFFICULTY


@final
class ClassDifficulty(AbstractProvider):
    """After every forward pass, the classes' difficulties over the positives of all processes; at the end, on disk.

    Writes ``difficulty.csv``: class, difficulty, momentum, and how many positives were seen. All classes begin with 1
    in every cycle, also with ``warm_start``. An interrupted fit goes on from the values of its checkpoint. The cost is
    the IoU of the positives and 2 K numbers a step; nothing is drawn, and training is the same with it and without.

    Args:
        xi: the share of the class probability in the difficulty of a box, the IoU has the rest (Eq. 1); 0.6 in PPAL.
        base_momentum: of a class that the last batch held (Eq. 3, m0); 0.99 in PPAL.
        absent: what a class does that a batch does not hold, see :func:`alpl.losses.difficulty.update_difficulty`.

    Raises:
        ConfigError: a number is out of range, or ``absent`` is unknown.
    """

    provides = Need.DIFFICULTY
    field = "difficulty"

    def __init__(self, xi: float = 0.6, base_momentum: float = 0.99, absent: Absent = "as_written") -> None:
        if not 0 <= xi <= 1:
            raise ConfigError(f"callbacks.class_difficulty.xi must be in [0, 1], got {xi}")
        if not 0 <= base_momentum < 1:
            raise ConfigError(f"callbacks.class_difficulty.base_momentum must be in [0, 1), got {base_momentum}")
        if absent not in ("as_written", "as_released"):
            raise ConfigError(f"callbacks.class_difficulty.absent must be as_written or as_released, got {absent!r}")
        self.xi, self.base_momentum, self.absent = xi, base_momentum, absent
        self._folder: Path | None = None
        self._state: dict[str, Tensor] = {}

    def bind(self, folder: Path) -> None:
        """See the base class."""
        self._folder = folder
        self._state = {}  # load_state_dict sets it again where a fit is resumed

    def read(self, folder: Path) -> Tensor:
        """``Float32[K]``, the difficulties."""
        path, what = folder / DIFFICULTY, "the classes' difficulties"
        rows = read_csv(path, what, "difficulty")
        with reading(path, what):
            return torch.tensor([float(row["difficulty"]) for row in rows])

    def state_dict(self) -> dict[str, Any]:
        """Difficulty, momentum and positives seen, ``[K]`` each."""
        return {name: value.cpu() for name, value in self._state.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the values of the checkpoint."""
        self._state = dict(state_dict)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask the module for its positives; begin, or go on from the values of a checkpoint."""
        assert isinstance(pl_module, AbstractTrainableModule), "the loop trains nothing else"
        assert pl_module.tells_positives, "the needs were checked before any training"
        pl_module.wants_positives = True
        num_classes = len(trainer.datamodule.classes)  # type: ignore[attr-defined]
        start = {
            "difficulty": torch.ones(num_classes),
            "momentum": torch.full((num_classes,), self.base_momentum),
            "positives": torch.zeros(num_classes, dtype=torch.long),
        }
        self._state = {name: value.to(trainer.strategy.root_device) for name, value in (self._state or start).items()}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take the step in; on every process, also where this one has no positives."""
        own = self._sums(outputs["positives"])
        sums, counts = trainer.strategy.reduce(own, reduce_op="sum")  # of means would not be the mean
        old = self._state["difficulty"], self._state["momentum"]
        difficulty, momentum = update_difficulty(*old, sums, counts, self.base_momentum, self.absent)
        positives = self._state["positives"] + counts.long()
        self._state = {"difficulty": difficulty, "momentum": momentum, "positives": positives}

    def _sums(self, positives: Positives | None) -> Tensor:
        """``Float[2 K]``: sums of the difficulties, and counts, by class."""
        found = torch.zeros(2, len(self._state["difficulty"]), device=self._state["difficulty"].device)
        if positives is None:
            return found
        values = training_difficulty(positives.probs, positives.ious, self.xi)
        return found.index_add(1, positives.labels, torch.stack([values, torch.ones_like(values)]))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write, on process 0."""
        if not trainer.is_global_zero:
            return
        assert self._folder is not None, "the loop binds the callback before the fit"
        names = trainer.datamodule.classes  # type: ignore[attr-defined]
        columns = [self._state[name].cpu().numpy() for name in ("difficulty", "momentum", "positives")]
        with whole_file(self._folder / DIFFICULTY) as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["class", "difficulty", "momentum", "positives"])
            writer.writerows(zip(names, *columns, strict=True))
