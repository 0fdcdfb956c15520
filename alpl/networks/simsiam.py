"""The heads of SimSiam: a projector behind the backbone, and a predictor behind that (Chen and He 2021, sec. 3)."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from alpl.errors import ConfigError


@final
class Projector(nn.Module):
    """Linear layers with batch norm behind each, and ReLU behind each but the last: ``[B F] -> [B width]``.

    Args:
        num_features: F of the backbone.
        width: of all layers.
        num_layers: 3 as published; 2 in the code that was released for CIFAR (PatrickHua/SimSiam).
        scaled: whether the last batch norm learns a scale and an offset; not as published, but in that code.

    Raises:
        ConfigError: a number is below 1.
    """

    def __init__(self, num_features: int, *, width: int = 2048, num_layers: int = 3, scaled: bool = False) -> None:
        super().__init__()
        _check(width=width, num_layers=num_layers)
        layers: list[nn.Module] = []
        for number in range(num_layers):
            is_last = number == num_layers - 1
            # without a bias: batch norm takes the mean away
            layers.append(nn.Linear(num_features if number == 0 else width, width, bias=False))
            layers.append(nn.BatchNorm1d(width, affine=scaled or not is_last))
            layers += [] if is_last else [nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.width = width

    def forward(self, features: Tensor) -> Tensor:
        """``[B F]`` -> z, ``[B width]``."""
        projection: Tensor = self.layers(features)
        return projection


@final
class Predictor(nn.Module):
    """Linear, batch norm, ReLU, linear with a bias: ``[B width] -> [B width]`` through a bottleneck.

    Args:
        width: of the projector.
        hidden: of the bottleneck.

    Raises:
        ConfigError: a number is below 1.
    """

    def __init__(self, width: int, *, hidden: int = 512) -> None:
        super().__init__()
        _check(width=width, hidden=hidden)
        self.layers = nn.Sequential(
            nn.Linear(width, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, width),
        )

    def forward(self, projection: Tensor) -> Tensor:
        """z, ``[B width]`` -> p, ``[B width]``."""
        prediction: Tensor = self.layers(projection)
        return prediction


def _check(**numbers: int) -> None:
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name} of SimSiam's heads must be an int >= 1, got {value!r}")
