"""What the loop tells a logger."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

X_AXIS = "labeled images"
"""The name of the axis of all cycle metrics."""


class AbstractRunLogger(ABC):
    """Hears of a run; one process of a group speaks to it."""

    @abstractmethod
    def start(self, description: Mapping[str, Any], folder: Path) -> None:
        """Begin, or go on after a kill. ``description`` is what ``run.json`` holds."""

    @abstractmethod
    def log_epoch(self, cycle: int, epoch: int, values: Mapping[str, float]) -> None:
        """Hear of an epoch of a cycle's fit; ``epoch`` counts on through all cycles of the run."""

    @abstractmethod
    def log_cycle(self, cycle: int, num_labeled: int, values: Mapping[str, float]) -> None:
        """Hear of a cycle's results."""

    @abstractmethod
    def finish(self, *, failed: bool) -> None:
        """End."""


@final
class CsvOnly(AbstractRunLogger):
    """Nothing beside the CSV files that every run writes (``epochs.csv``, ``metrics.csv``)."""

    def start(self, description: Mapping[str, Any], folder: Path) -> None:
        """Nothing to begin."""

    def log_epoch(self, cycle: int, epoch: int, values: Mapping[str, float]) -> None:
        """The loop writes it."""

    def log_cycle(self, cycle: int, num_labeled: int, values: Mapping[str, float]) -> None:
        """The loop writes it."""

    def finish(self, *, failed: bool) -> None:
        """Nothing to end."""
