"""Fits the partner of a cycle, where there is one, and keeps its answers."""

from __future__ import annotations

import warnings
from typing import final

from torch import Tensor

from alpl.callbacks.epoch_log import EpochLog
from alpl.callbacks.epoch_seed import EpochSeed
from alpl.callbacks.resume_checkpoint import ResumeCheckpoint, usable
from alpl.cycle.parts import Parts
from alpl.cycle.prediction import write_predictions
from alpl.data.base import AbstractPoolDataModule
from alpl.data.batch_norm import single_images_told
from alpl.machine.files import read_tensors, write_tensors
from alpl.machine.processes import rank
from alpl.machine.seeding import derive_seed, seed_all
from alpl.modules.partner import AbstractPartner, Partner
from alpl.pool import Pool
from alpl.predictions import FIELDS, Predictions


@final
class Partnering:
    """Trains the partner in a stage of its own, and asks it in another; both are resumed like the task's.

    Args:
        parts: of the run.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def fit(self, cycle: int, data: AbstractPoolDataModule) -> None:
        """Fit a fresh partner on the cycle's pool."""
        parts, partner = self.parts, self._partner
        files = parts.folder.cycle(cycle)
        with parts.stages.run(cycle, "fit_partner", together=True) as todo:
            if not todo:
                return
            seed = derive_seed(parts.experiment.seed, "partner", cycle)
            seed_all(seed)
            module, resume = self._make(), files.partner_resume
            trainer = parts.make_trainer(
                EpochSeed(seed),
                EpochLog(files.partner_epochs, lambda epoch, values: None),
                ResumeCheckpoint(resume, parts.experiment.checkpoint_every_s, parts.interruption),
                make=partner.trainer,
            )
            start = usable(resume, parts.progress.say)
            with single_images_told(), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "You passed in a `val_dataloader`")  # it is the task's
                trainer.fit(module, datamodule=module.view(data), ckpt_path=start, weights_only=True)
            if parts.is_main:
                write_tensors(files.partner, module.state_dict())

    def ask(self, cycle: int, pool: Pool, data: AbstractPoolDataModule) -> None:
        """Have it answer about the unlabeled images of a pool."""
        parts = self.parts
        files = parts.folder.cycle(cycle)
        with parts.stages.run(cycle, "ask_partner", together=True) as todo:
            if todo:
                module = self._make()
                module.load_state_dict(read_tensors(files.partner))
                seed_all(derive_seed(parts.experiment.seed, "ask_partner", cycle, rank()))
                view = module.view(data).observing(pool.unlabeled)
                write_predictions(parts, module, view, files.predictions("partner"), make=self._partner.trainer)

    def answers(self, cycle: int, images: Tensor) -> dict[str, Tensor]:
        """Give the answers by field, for images (``Long[n]``, ascending) that it was asked about."""
        found = Predictions.load(self.parts.folder.cycle(cycle).predictions("partner")).of(images)
        names = [row.name for row in FIELDS if row.need & self._partner.provides]
        return {name: getattr(found, name) for name in names}

    def _make(self) -> AbstractPartner:
        return self._partner.module(**self.parts.experiment.data.module_arguments)

    @property
    def _partner(self) -> Partner:
        assert self.parts.experiment.partner is not None, "the checks before training found one that is needed"
        return self.parts.experiment.partner
