"""Callbacks that record something while the model trains, for an acquisition to use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback

from alpl.predictions import Need


class AbstractProvider(Callback, ABC):
    """Records into the folder of a cycle; the loop attaches it only where an acquisition needs what it provides."""

    provides: Need
    """What it provides."""

    field: str
    """The attribute of :class:`alpl.acquisition.Context` that holds it."""

    @abstractmethod
    def bind(self, folder: Path) -> None:
        """Say where this cycle's records go. Called before each fit, also before one that is resumed."""

    @abstractmethod
    def read(self, folder: Path) -> Any:
        """Read what it recorded in a cycle's folder, as the context holds it."""
