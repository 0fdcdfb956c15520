"""A partner: another model, trained in a cycle beside the one that learns the task, and asked about images (VAAL).

It shares nothing with the task's model: neither weights nor random numbers, so that this one is the same with it and
without.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from alpl.data.base import AbstractPoolDataModule
from alpl.data.batch import Batch
from alpl.errors import ConfigError
from alpl.predictions import FIELDS, Need, Predictions


class AbstractPartner(LightningModule, ABC):
    """Base of partners: a LightningModule that trains itself and answers about images.

    A subclass writes ``training_step`` and ``configure_optimizers`` as any LightningModule does (several optimizers by
    manual optimization included), and :meth:`answer`.
    """

    provides: ClassVar[Need]
    """What it answers: needs that the table of fields says a partner gives."""

    def view(self, data: AbstractPoolDataModule) -> AbstractPoolDataModule:
        """Give the data as it wants to see them in its fit and when it is asked; a module's copy, never itself."""
        return data

    @abstractmethod
    def answer(self, batch: Batch) -> dict[str, Tensor]:
        """Give ``Float[B]`` for each field that it provides, of a batch with the evaluation transform."""

    @final
    def predict_step(self, batch: Batch, batch_idx: int) -> Predictions:
        """The answers, on the CPU."""
        answers: dict[str, Any] = {name: value.float().cpu() for name, value in self.answer(batch).items()}
        return Predictions(batch.index.cpu(), torch.arange(len(batch.index)), **answers)


@final
@dataclass(frozen=True)
class Partner:
    """How a partner is made and trained.

    Args:
        module: makes a fresh one, from what the data says of itself (``num_classes`` and the like).
        trainer: makes its trainer.

    Raises:
        ConfigError: ``module`` makes no partner, or one whose answers nobody knows.
    """

    module: Callable[..., AbstractPartner]
    trainer: Callable[..., Trainer]

    def __post_init__(self) -> None:
        made = getattr(self.module, "func", self.module)
        if not (isinstance(made, type) and issubclass(made, AbstractPartner)):
            raise ConfigError(f"partner.module must make an AbstractPartner, got {made!r}")
        known = {row.need for row in FIELDS if row.provider == "partner"}
        if any(need not in known for need in Need if need.value and need in made.provides):
            raise ConfigError(f"partner.module must provide what a partner can, got {made.provides.names()}")

    @property
    def provides(self) -> Need:
        """What it answers."""
        made: Any = getattr(self.module, "func", self.module)
        provides: Need = made.provides
        return provides
