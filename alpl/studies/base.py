"""What a study is: it says what it wants predicted, and writes what it found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, final

import torch

from alpl.data.scenes import SceneDataModule
from alpl.experiment import Experiment
from alpl.modules.base import AbstractModule
from alpl.pool import Index
from alpl.predictions import Need, Predictions
from alpl.runs.run_folder import CycleFiles, RunFolder


@final
@dataclass(frozen=True, eq=False)
class Look:
    """Whom a study asks about what.

    Args:
        cycle: whose model is asked.
        split: of the images.
        index: ``Long[N]``, which of them, ascending.
        stage: of an acquisition, as which the model detects; a later one where it detects otherwise among candidates.
    """

    cycle: int
    split: Literal["train", "test"]
    index: Index
    stage: int = 0


@final
@dataclass(frozen=True, eq=False)
class Answers:
    """What a finished run's model says.

    Args:
        predictions: of the images that were asked about, in their order; memory-mapped.
        data: knows the images and their objects; of the training images it has no targets.
        experiment: the run's parts.
        module: who was asked.
        look: about what.
        files: of the cycle.
    """

    predictions: Predictions
    data: SceneDataModule
    experiment: Experiment
    module: AbstractModule
    look: Look
    files: CycleFiles


class AbstractStudy(ABC):
    """Base of studies; a subclass is a frozen dataclass, whose fields are the study's settings."""

    needs: ClassVar[Need]
    """What it wants predicted of each image."""

    def look(self, folder: RunFolder, data: SceneDataModule) -> Look:
        """Say who is asked about what: by default the last cycle's model about all test images, as a selection sees.

        Raises:
            ConfigError: a setting does not fit the run.
        """
        cycle = max(int(entry["cycle"]) for entry in folder.journal if entry["stage"] == "test")
        return Look(cycle, "test", torch.arange(len(data.splits.test)), stage=1)

    @abstractmethod
    def write(self, answers: Answers, folder: Path) -> str:
        """Write what was found into a folder, CSV files and figures (PNG); give the line that tells of it.

        The report of the run's table shows the figures.

        Raises:
            ConfigError: a setting does not fit the data.
        """
