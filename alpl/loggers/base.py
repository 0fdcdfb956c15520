"""What the loop tells a logger: that something new lies in the run's folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final


class AbstractRunLogger(ABC):
    """Follows a run's folder; process 0 speaks to it.

    Whatever it tells others it reads from the folder (:class:`alpl.loggers.points.RunPoints`). So nothing is lost or
    told twice where a run is killed and taken up again.
    """

    @abstractmethod
    def start(self, description: Mapping[str, Any], folder: Path) -> None:
        """Begin, or go on after a kill.

        Args:
            description: what ``run.json`` holds.
            folder: the run's folder.

        Raises:
            ConfigError: it cannot begin; nothing has been trained yet.
        """

    @abstractmethod
    def follow(self) -> None:
        """Hear that an epoch or a test has ended, and that its files are whole."""

    @abstractmethod
    def finish(self, *, failed: bool) -> None:
        """End, also where :meth:`start` failed or was never called."""


@final
class CsvOnly(AbstractRunLogger):
    """Nothing beside the CSV files that every run writes (``epochs.csv``, ``metrics.csv``)."""

    def start(self, description: Mapping[str, Any], folder: Path) -> None:
        """Nothing to begin."""

    def follow(self) -> None:
        """The files are there."""

    def finish(self, *, failed: bool) -> None:
        """Nothing to end."""
