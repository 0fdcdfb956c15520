"""What the matrix is made of: models on tasks, and each acquisition with each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, final

State: TypeAlias = Literal["ran", "failed", "declared", "cannot"]


@final
@dataclass(frozen=True)
class Column:
    """A model on a task.

    Args:
        task: "classification" or "detection".
        model: the config's name.
        overrides: a smoke run of it.
    """

    task: str
    model: str
    overrides: tuple[str, ...]


@final
@dataclass(frozen=True)
class Cell:
    """An acquisition with a model.

    Args:
        acquisition: the config's name.
        column: the model.
        state: ran (at smoke scale, to its end), failed (it should have run), declared (all checks before a training
            pass) or cannot.
        reason: why not: the needs that nobody provides, or the message.
        remedy: overrides that the acquisition needs with this model.
        seconds: that the run took.
    """

    acquisition: str
    column: Column
    state: State
    reason: str = ""
    remedy: tuple[str, ...] = ()
    seconds: float | None = None

    @property
    def overrides(self) -> tuple[str, ...]:
        """The command's overrides."""
        return (*self.column.overrides, *self.remedy, f"acquisition={self.acquisition}")
