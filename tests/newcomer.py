"""One of each that README's table "to add" names, as someone outside the package would write them."""

from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from alpl.acquisition import AbstractRanking, Context
from alpl.callbacks import AbstractProvider
from alpl.data import AbstractSource, Batch, ImageSet, Splits
from alpl.modules import AbstractModule, AbstractPartner, AbstractTrainableModule
from alpl.predictions import Need, Posterior, Predictions


@final
class Stripes(AbstractSource):
    """A data set: three classes of striped images."""

    def load(self) -> Splits:
        def made(number: int, seed: int) -> ImageSet:
            draw = torch.Generator().manual_seed(seed)
            targets = torch.arange(number) % 3
            images = torch.randint(60, (number, 1, 8, 8), generator=draw, dtype=torch.uint8)
            for row in range(number):
                images[row, :, :, 2 * int(targets[row])] += 120
            return ImageSet(images, targets)

        return Splits(made(120, 0), made(30, 1), ("left", "middle", "right"))


@final
class BrightPixels(AbstractTrainableModule):
    """A model: a linear one."""

    provides = Need.POSTERIOR

    def __init__(self, num_classes: int, in_channels: int, **options: Any) -> None:
        super().__init__(**options)
        self.network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64 * in_channels, num_classes))
        self.right: list[Tensor] = []

    @classmethod
    def ensemble(cls, members) -> AbstractModule:
        raise NotImplementedError("one is enough here")

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return torch.nn.functional.cross_entropy(self.network(batch.images[batch.labeled]), batch.targets)

    def predict_batch(self, batch: Batch, needs: Need) -> Predictions:
        probs = self.network(batch.images).softmax(-1)
        row = torch.arange(len(batch.index))
        return Predictions(batch.index, row, Posterior(probs), labels=probs.argmax(-1), scores=probs.amax(-1))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.right.append(self.predict_batch(batch, Need.NOTHING).labels == batch.targets)

    def test_results(self) -> dict[str, Any]:
        right, self.right = torch.cat(self.right), []
        return {"test/accuracy": float(right.double().mean())}


@final
class StepsOfTheFit(AbstractProvider):
    """A callback that records for an acquisition: how many steps the fit had, for every unlabeled image alike."""

    provides = Need.HISTORY
    field = "history"

    def bind(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        np.save(self.folder / "steps.npy", np.full((1, len(trainer.datamodule.pool.unlabeled)), trainer.global_step))

    def read(self, folder: Path) -> np.ndarray:
        return np.load(folder / "steps.npy")


@final
class FewStepsFirst(AbstractRanking):
    """An acquisition that reads what the callback recorded and what the partner says."""

    needs = Need.POSTERIOR | Need.HISTORY | Need.LABELEDNESS

    def utility(self, context: Context) -> Tensor:
        assert context.history is not None and context.predictions.labeledness is not None
        return (
            context.posterior.entropy() / (1 + torch.from_numpy(context.history[0])) - context.predictions.labeledness
        )


@final
class Constant(AbstractPartner):
    """A partner that has an opinion without learning much."""

    provides = Need.LABELEDNESS

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return ((self.value - batch.labeled.float().mean()) ** 2).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def answer(self, batch: Batch) -> dict[str, Tensor]:
        return {"labeledness": self.value.sigmoid().expand(len(batch.index))}


def trainer(**options: Any) -> Trainer:
    return Trainer(max_epochs=1, accelerator="cpu", **options)
