"""Pre-trains a backbone, as a product that all runs share which start from it; killed, the same command goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import final

import torch
from lightning.pytorch import Trainer

from alpl.callbacks.batch_progress import BatchProgress
from alpl.callbacks.epoch_log import EpochLog
from alpl.callbacks.epoch_seed import EpochSeed
from alpl.callbacks.fast_network import FastNetwork
from alpl.callbacks.neighbor_check import Known, NeighborCheck
from alpl.callbacks.resume_checkpoint import ResumeCheckpoint, usable
from alpl.config.pretrained import PretrainedConfig
from alpl.data.batch_norm import single_images_told
from alpl.data.datamodule import ImageDataModule
from alpl.data.views import TwoViews
from alpl.machine.files import write_tensors
from alpl.machine.interruption import Interruption
from alpl.machine.processes import rank
from alpl.machine.progress import Progress
from alpl.machine.seeding import derive_seed, seed_all
from alpl.machine.speed import Speed
from alpl.modules.pretraining import Pretraining
from alpl.modules.simsiam import backbone_state
from alpl.pool import Pool
from alpl.sharing.pretrained import WEIGHTS, content_for

EPOCHS = "epochs.csv"
_RESUME = "fit.ckpt"


@final
class PretrainingFit:
    """Fits what a recipe says on all images that take part, of which it sees no label.

    The accuracy of nearest neighbors, which is written beside the loss, is of the labels; nothing follows from it.

    Args:
        recipe: what is fitted.
        config: where it is kept, and what it depends on.
        data: not set up yet.
        make_trainer: makes a trainer from its callbacks and the like.
        speed: what makes a GPU fast.
        checkpoint_every_s: least seconds between two checkpoints.
        interruption: may end it.
        progress: tells people.
    """

    def __init__(
        self,
        recipe: Pretraining,
        config: PretrainedConfig,
        data: ImageDataModule,
        make_trainer: Callable[..., Trainer],
        *,
        speed: Speed,
        checkpoint_every_s: float,
        interruption: Interruption,
        progress: Progress,
    ) -> None:
        self.recipe = recipe
        self.data = data
        self.make_trainer = make_trainer
        self.speed = speed
        self.checkpoint_every_s = checkpoint_every_s
        self.interruption = interruption
        self.progress = progress
        if rank() == 0:
            data.prepare_data()
        data.setup("fit")
        self.content = content_for(config, data, data.fingerprint())
        _, self._targets = data.take_targets()

    def fit(self, folder: Path) -> None:
        """Fill the folder of the product, or go on with what a process left there that was killed."""
        seed = derive_seed(self.recipe.seed, "pretrain")
        seed_all(seed)
        module = self.recipe.module(
            in_channels=self.data.module_arguments["in_channels"], rate_factor=self.recipe.rate_factor
        )
        resume = folder / _RESUME
        trainer = self.make_trainer(
            max_epochs=self.recipe.epochs,
            max_steps=-1,
            callbacks=[
                FastNetwork(self.speed, self.progress.say),
                EpochSeed(seed),
                *self._check(),
                EpochLog(folder / EPOCHS, self._tell),
                ResumeCheckpoint(resume, self.checkpoint_every_s, self.interruption),
                BatchProgress(self.progress),
                self.interruption,
            ],
            limit_val_batches=0,
            logger=False,
            use_distributed_sampler=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=str(folder),
        )
        view = self._view(trainer.num_devices * trainer.num_nodes)
        with single_images_told():
            start = usable(resume, self.progress.say)
            trainer.fit(module, datamodule=view, ckpt_path=start, weights_only=True)
        if rank() == 0:
            write_tensors(folder / WEIGHTS, backbone_state(module))
            resume.unlink(missing_ok=True)

    def _view(self, num_processes: int) -> ImageDataModule:
        pool = Pool.create(self.data.num_images, torch.zeros(0, dtype=torch.long), self.data.excluded)
        return self.data.with_pool(pool, torch.zeros(0, dtype=torch.long)).viewed(
            augment=[TwoViews(self.recipe.augment)],
            batch_size=self.recipe.batch_of(num_processes),
            labeled_fraction="random",
        )

    def _check(self) -> list[NeighborCheck]:
        if not self.recipe.check_every:
            return []
        taking_part = torch.ones(self.data.num_images, dtype=torch.bool)
        taking_part[self.data.excluded] = False
        train, test = self.data.splits.train, self.data.splits.test
        known = Known(train.images[taking_part], self._targets[taking_part])
        return [
            NeighborCheck(
                known,
                Known(test.images, test.targets),
                self.data.prepared,
                len(self.data.classes),
                every=self.recipe.check_every,
                k=self.recipe.neighbors,
            )
        ]

    def _tell(self, epoch: int, values: dict[str, float]) -> None:
        shown = ", ".join(f"{name} {value:.4f}" for name, value in values.items() if name != "lr")
        self.progress.within(f"epoch {epoch + 1}/{self.recipe.epochs}: {shown}")
