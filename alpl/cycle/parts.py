"""What the stages of a cycle share: the experiment's parts, the run's folder and journal, and who makes trainers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

from lightning.pytorch import Trainer
from torch import Tensor

from alpl.callbacks.batch_progress import BatchProgress
from alpl.callbacks.fast_network import FastNetwork
from alpl.callbacks.resume_checkpoint import ResumeCheckpoint
from alpl.experiment import Experiment
from alpl.labeling.oracle import AbstractOracle
from alpl.machine.interruption import Interruption
from alpl.machine.processes import rank
from alpl.machine.progress import Progress
from alpl.modules.base import AbstractTrainableModule
from alpl.runs.run_folder import RunFolder
from alpl.runs.stages import Stages
from alpl.sharing.flow import Flow


@final
@dataclass(frozen=True)
class Parts:
    """What all stages need.

    Args:
        experiment: what is run; its data is set up.
        oracle: answers.
        folder: of the run.
        stages: keep its journal.
        progress: tells people.
        interruption: ends a fit early.
        start: the state of the backbone that a fresh module begins with; None for a random one.
        flow: the optical flow of the data's videos; None where nobody needs it.
    """

    experiment: Experiment
    oracle: AbstractOracle
    folder: RunFolder
    stages: Stages
    progress: Progress
    interruption: Interruption
    start: Mapping[str, Tensor] | None = None
    flow: Flow | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes."""
        return rank() == 0

    def make_module(self) -> AbstractTrainableModule:
        """Give a fresh module."""
        module = self.experiment.make_module(**self.experiment.data.module_arguments)
        if self.start is not None:
            module.load_backbone(self.start)
        return module

    def make_trainer(self, *callbacks: Any, make: Callable[..., Trainer] | None = None) -> Trainer:
        """Give a trainer: samplers, logs and progress are ours (see data/batch.py), the rest is the user's.

        Args:
            callbacks: beside those that tell the progress and heed interruptions.
            make: another maker than the experiment's.
        """
        no_validation = {} if self.experiment.data.num_validation else {"limit_val_batches": 0}
        return (make or self.experiment.make_trainer)(
            callbacks=[
                FastNetwork(self.experiment.speed, self.progress.say),
                *callbacks,
                BatchProgress(self.progress),
                self.interruption,
            ],
            logger=False,
            use_distributed_sampler=False,
            enable_checkpointing=any(isinstance(callback, ResumeCheckpoint) for callback in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=str(self.folder.path),
            **no_validation,
        )
