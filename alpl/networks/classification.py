"""A backbone, dropout, and a linear head: logits and the penultimate features in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn

from alpl.config.partial_parts import complete
from alpl.errors import ConfigError


class Backbone(Protocol):
    """A module ``[B C H W] -> [B F]`` that knows its F.

    It may also have ``stages``: the names of its submodules that give its maps ``[B channels h w]``, the finest first,
    and the channels of each. That is what a loss prediction module looks at. And ``cut_off``: the names of what was
    removed from it, its classifier before all, of which files of weights still hold the tensors.
    """

    num_features: int

    def __call__(self, images: Tensor) -> Tensor:
        """Give the features."""
        ...


@final
class ClassificationNetwork(nn.Module):
    """Backbone -> dropout -> linear.

    Args:
        backbone: makes the backbone from ``in_channels``; it has an attribute ``num_features``.
        num_classes: K.
        in_channels: channels of an image.
        dropout: probability before the head; what MC-dropout draws from.

    Raises:
        ConfigError: ``dropout`` is outside [0, 1), or the backbone has no ``num_features``.
    """

    def __init__(
        self, backbone: Callable[..., nn.Module], num_classes: int, in_channels: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout must be in [0, 1), got {dropout}")
        self.backbone = complete(backbone, "model.network.backbone", in_channels=in_channels)
        num_features = getattr(self.backbone, "num_features", None)
        if not isinstance(num_features, int):
            raise ConfigError(
                "model.network.backbone must make a module with the length of its features as num_features (an int), "
                f"got {type(self.backbone).__name__} with {num_features!r}"
            )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(num_features, num_classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``[B C H W]`` -> logits ``[B K]`` and penultimate features ``[B F]`` (before dropout)."""
        # images are normalized after Lightning's conversion of the batch: precision=bf16-true must reach them here
        features: Tensor = self.backbone(images.to(self.head.weight.dtype))
        return self.logits(features), features

    def logits(self, features: Tensor) -> Tensor:
        """``[B F]`` -> ``[B K]``, of float32 where the pass is of mixed precision: bfloat16 makes equals of classes."""
        with torch.autocast(features.device.type, enabled=False):
            logits: Tensor = self.head(self.dropout(features).to(self.head.weight.dtype))
        return logits

    @property
    def stages(self) -> Mapping[str, int]:
        """What the backbone says of its maps, see :class:`Backbone`; empty where it says nothing."""
        return getattr(self.backbone, "stages", {})

    @property
    def cut_off(self) -> Sequence[str]:
        """What the backbone says was removed from it, see :class:`Backbone`; empty where it says nothing."""
        return getattr(self.backbone, "cut_off", ())

    def with_maps(self, images: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Give the same in the same pass, and the maps of the backbone's stages, ``[B channels h w]`` each."""
        maps: dict[str, Tensor] = {}
        hooks = [
            self.backbone.get_submodule(name).register_forward_hook(partial(_keep, maps, name)) for name in self.stages
        ]
        try:
            # not self(images): what was compiled without hooks knows nothing of them
            logits, features = type(self).forward(self, images)
        finally:
            for hook in hooks:
                hook.remove()
        return logits, features, [maps[name] for name in self.stages]


def _keep(maps: dict[str, Tensor], name: str, module: nn.Module, given: Any, map_: Tensor) -> None:
    maps[name] = map_
