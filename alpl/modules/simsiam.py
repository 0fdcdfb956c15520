"""SimSiam: a backbone that learns from images without labels (Chen and He 2021; thesis sec. 5.3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, final

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanMetric

from alpl.config.partial_parts import complete
from alpl.data.batch import Batch
from alpl.errors import ConfigError
from alpl.losses.cosine_similarity import simsiam_loss, spread
from alpl.modules.base import MakeOptimizer
from alpl.networks.simsiam import Predictor, Projector


@final
class SimSiam(LightningModule):
    """Trains a backbone, a projector and a predictor on pairs of views; only the backbone is of use afterwards.

    Args:
        backbone: makes the backbone from ``in_channels``; it has ``num_features``.
        in_channels: channels of an image.
        projector: makes the projector from ``num_features``.
        predictor: makes the predictor from the projector's ``width``.
        optimizer: makes the optimizer from groups of parameters.
        warmup_epochs: in which the learning rate rises linearly from 0; then it falls to 0 with a cosine, step by step.
        constant_predictor: whether the predictor's learning rate stays what the optimizer begins with.
        rate_factor: what the optimizer's learning rate is multiplied by, as its batches are larger or smaller than
            those that it is meant for.

    Raises:
        ConfigError: ``warmup_epochs`` is negative.
    """

    def __init__(
        self,
        backbone: Callable[..., nn.Module],
        in_channels: int,
        *,
        projector: Callable[..., Projector],
        predictor: Callable[..., Predictor],
        optimizer: MakeOptimizer,
        warmup_epochs: int = 0,
        constant_predictor: bool = True,
        rate_factor: float = 1.0,
    ) -> None:
        super().__init__()
        if warmup_epochs < 0:
            raise ConfigError(f"pretrained.module.warmup_epochs must be >= 0, got {warmup_epochs}")
        self.backbone = complete(backbone, "pretrained.module.backbone", in_channels=in_channels)
        num_features: Any = self.backbone.num_features
        self.projector = complete(projector, "pretrained.module.projector", num_features=num_features)
        self.predictor = complete(predictor, "pretrained.module.predictor", width=self.projector.width)
        self.warmup_epochs = warmup_epochs
        self.constant_predictor = constant_predictor
        self.rate_factor = rate_factor
        self._make_optimizer = optimizer
        self.loss = MeanMetric()
        self.spread = MeanMetric()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``[B C H W]`` -> p and z, ``[B D]`` each."""
        projection = self.projector(self.backbone(images.to(next(self.parameters()).dtype)))
        return self.predictor(projection), projection

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Thesis, Eq. 5.1, of a batch of two views, ``[B 2 C H W]``; each view has a batch norm of its own.

        Beside the loss it logs :func:`alpl.losses.cosine_similarity.spread` of the first views' projections.
        """
        first, second = (self(view) for view in batch.images.unbind(1))
        loss = simsiam_loss(first, second)
        self.loss.update(loss.detach())
        self.spread.update(spread(first[1]))
        self.log("train/loss", self.loss, on_step=False, on_epoch=True)
        self.log("train/spread", self.spread, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> Any:
        """Two groups of parameters, the predictor's behind the others, with a schedule each."""
        encoder = [*self.backbone.parameters(), *self.projector.parameters()]
        optimizer = self._make_optimizer([{"params": encoder}, {"params": list(self.predictor.parameters())}])
        for group in optimizer.param_groups:
            group["lr"] *= self.rate_factor
        steps = int(self.trainer.estimated_stepping_batches)
        warmup = round(steps * self.warmup_epochs / (self.trainer.max_epochs or 1))

        def falling(step: int) -> float:
            return rate(step, steps, warmup)

        def constant(step: int) -> float:
            return 1.0

        schedule = LambdaLR(optimizer, [falling, constant if self.constant_predictor else falling])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def rate(step: int, num_steps: int, warmup: int) -> float:
    """Give the share of the learning rate at a step: linear from 0 while it warms up, then half a cosine to 0.

    >>> [round(rate(step, 6, 2), 3) for step in range(7)]
    [0.0, 0.5, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if step < warmup:
        return step / warmup
    return (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, num_steps - warmup)))) / 2


def backbone_state(module: SimSiam) -> dict[str, Tensor]:
    """Give what is kept of it, on the CPU."""
    return {name: value.detach().cpu() for name, value in module.backbone.state_dict().items()}


@torch.no_grad()
def features_of(module: SimSiam, images: Tensor) -> Tensor:
    """``[B C H W]`` -> ``Float[B F]`` of the backbone as in evaluation, whose mode stays what it is."""
    mode = module.backbone.training
    module.backbone.eval()
    features: Tensor = module.backbone(images.to(next(module.parameters()).dtype)).float()
    module.backbone.train(mode)
    return features
