"""The loss prediction module of Yoo and Kweon 2019, "Learning Loss for Active Learning" (LLAL).

Axes: B images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from alpl.errors import ConfigError
from alpl.losses.loss_ranking import ranking_loss


@final
class LossPrediction(nn.Module):
    """Predicts the loss of each image from several maps of a network (their Fig. 2), trained beside it.

    Each map goes through global average pooling, a fully connected layer and a ReLU; what comes out is concatenated,
    and a last fully connected layer gives the loss. The module gets its gradients from the order of the true losses
    alone, and hands them on to the network until a share of the training is done: their classifiers trained for 200
    epochs and stopped the gradient at 120, when the module would otherwise have gone on to pull at features that have
    settled.

    Args:
        channels: of each map, which the network that it is attached to tells.
        width: outputs of the layer behind each map.
        margin: of the ranking loss.
        weight: of the ranking loss beside the network's own.
        detach_after: share of the training, in [0, 1], from which no gradient reaches the network; 1 for never.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        width: int = 128,
        margin: float = 1.0,
        weight: float = 1.0,
        detach_after: float = 0.6,
    ) -> None:
        super().__init__()
        if not channels:
            raise ConfigError(f"channels must have one number for each map, got {list(channels)}")
        if width < 1 or not margin > 0 or not weight > 0:
            raise ConfigError(
                "loss_prediction.width must be >= 1, margin and weight must be > 0, "
                f"got width={width}, margin={margin}, weight={weight}"
            )
        if not 0 <= detach_after <= 1:
            raise ConfigError(f"loss_prediction.detach_after must be in [0, 1], got {detach_after}")
        self.branches = nn.ModuleList(nn.Linear(number, width) for number in channels)
        self.head = nn.Linear(width * len(channels), 1)
        self.margin, self.weight, self.detach_after = margin, weight, detach_after

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """``[B channels H W]`` each -> ``Float[B]`` predicted losses; only their order has a meaning."""
        pooled = (map_.float().mean((2, 3)) for map_ in maps)
        hidden = [branch(values).relu() for branch, values in zip(self.branches, pooled, strict=True)]
        predicted: Tensor = self.head(torch.cat(hidden, 1)).squeeze(1)
        return predicted.float()

    def loss(self, maps: Sequence[Tensor], losses: Tensor, done: float) -> Tensor:
        """Give the ranking loss, without its weight.

        Args:
            maps: ``[B channels H W]`` each.
            losses: ``Float[B]`` the network's true loss of each image.
            done: share of the training that is done.
        """
        if done >= self.detach_after:
            maps = [map_.detach() for map_ in maps]
        return ranking_loss(self(maps), losses, self.margin)
