"""A small partner and its acquisition, as someone outside the package would write them."""

from typing import final

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from alpl.acquisition import AbstractRanking, Context
from alpl.modules.partner import AbstractPartner
from alpl.predictions import Need


@final
class LabeledOrNot(AbstractPartner):
    """Learns to tell labeled images from unlabeled ones, from their pixels."""

    provides = Need.LABELEDNESS

    def __init__(self, num_classes: int, in_channels: int, lr: float = 0.01) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.ReLU(), nn.Linear(16, 1))
        self.network(torch.zeros(1, in_channels, 8, 8))
        self.lr = lr

    def training_step(self, batch, batch_idx: int) -> Tensor:
        logits = self.network(batch.images)[:, 0]
        return nn.functional.binary_cross_entropy_with_logits(logits, batch.labeled.float())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.lr)

    def answer(self, batch) -> dict[str, Tensor]:
        return {"labeledness": self.network(batch.images)[:, 0].sigmoid()}


@final
class LeastLabeled(AbstractRanking):
    needs = Need.LABELEDNESS

    def utility(self, context: Context) -> Tensor:
        assert context.predictions.labeledness is not None
        return 1 - context.predictions.labeledness


def trainer(**options) -> Trainer:
    return Trainer(max_epochs=2, accelerator="cpu", **options)
