"""The towers of dense heads: the convolutions that the maps of a pyramid share before anything is predicted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import final

from torch import nn

from alpl.errors import ConfigError


@final
@dataclass(frozen=True)
class Towers:
    """How the towers of both heads are made, and what their classes cost.

    Args:
        num_convs: convolutions of a tower, 1 to 4; 4 as published.
        norm_groups: group norm behind each, or null for none; RetinaNet is published with none, FCOS with 32.
        init_std: standard deviation of the weights at the start, 0.01 as published; null for He's initialization, from
            which short trainings get further.
        dropout: probability behind each tower; what MC-dropout draws from.
        focal_alpha: weight of the class against all others.
        focal_gamma: of the focal loss, 2 as published.

    Raises:
        ConfigError: a number is out of range.
    """

    num_convs: int = 4
    norm_groups: int | None = None
    init_std: float | None = 0.01
    dropout: float = 0.0
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0

    def __post_init__(self) -> None:
        for name, right, what in (
            ("num_convs", 1 <= self.num_convs <= 4, "1 to 4"),
            ("init_std", self.init_std is None or self.init_std > 0, "null or > 0"),
            ("dropout", 0 <= self.dropout < 1, "in [0, 1)"),
            ("focal_alpha", 0 <= self.focal_alpha <= 1, "in [0, 1]"),
            ("focal_gamma", self.focal_gamma >= 0, ">= 0"),
        ):
            if not right:
                raise ConfigError(f"model.towers.{name} must be {what}, got {getattr(self, name)}")

    def norm(self, width: int) -> Callable[[int], nn.Module] | None:
        """Give what makes a norm layer for maps of this width."""
        if self.norm_groups is None:
            return None
        if self.norm_groups < 1 or width % self.norm_groups:
            raise ConfigError(
                f"model.towers.norm_groups must divide the pyramid's width ({width}), got {self.norm_groups}"
            )
        return partial(nn.GroupNorm, self.norm_groups)

    def finish(self, tower: nn.Sequential) -> nn.Sequential:
        """Give torchvision's tower of 4 convolutions its depth, its start and its dropout."""
        tower = tower[: self.num_convs * len(tower) // 4]
        for layer in tower.modules():
            if not isinstance(layer, nn.Conv2d):
                continue
            if self.init_std is None:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.normal_(layer.weight, std=self.init_std)
        return tower.append(nn.Dropout(self.dropout)) if self.dropout > 0 else tower
