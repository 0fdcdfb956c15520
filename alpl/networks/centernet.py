"""CenterNet's network (Zhou et al. 2019, "Objects as points"): a ResNet, deformable up-sampling, three heads.

Axes: B images, K classes, h and w cells of the last map, four pixels of the input each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, final

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.ops import DeformConv2d

from alpl.errors import ConfigError
from alpl.networks.fpn import tiny_stage

STRIDE = 4
"""Pixels of the input from cell to cell of the last map."""
COARSEST = 32
"""The same of the trunk's last map, which three times is doubled."""

_DEPTHS = {"resnet18": (64, 128, 256, 512), "resnet34": (64, 128, 256, 512), "resnet50": (256, 512, 1024, 2048)}
_HEAT_BIAS = -2.19  # a probability of 0.1 everywhere at the start


class CenterOutput(NamedTuple):
    """What the heads say of every cell."""

    heat: Tensor
    """``Float[B K h w]``: that an object of a class has its center here; logits, or probabilities where it is said."""
    sizes: Tensor
    """``Float[B 2 h w]``: width and height of the object, in cells."""
    offsets: Tensor
    """``Float[B 2 h w]``: x and y of its center from the cell's upper left corner, in cells."""


class AbstractTrunk(nn.Module, ABC):
    """What CenterNet stands on.

    Attributes:
        channels: of the four maps.
    """

    channels: tuple[int, ...]

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]:
        """``Float[B 3 H W]`` -> the maps of strides 4, 8, 16 and 32 (C2 to C5)."""


@final
class ResNetTrunk(AbstractTrunk):
    """A ResNet of torchvision, all of it trained, batch norm too.

    Args:
        name: resnet18, resnet34 or resnet50.
        weights: a weights enum of torchvision by name, e.g. "IMAGENET1K_V1" (fetched by torchvision where they are not
            cached), or null for none.

    Raises:
        ConfigError: an argument is not one of these, or torchvision does not know the weights.
    """

    def __init__(self, name: str = "resnet18", weights: str | None = None) -> None:
        super().__init__()
        if name not in _DEPTHS:
            raise ConfigError(f"trunk.name must be one of {', '.join(_DEPTHS)}, got {name!r}")
        try:
            network = torchvision.models.get_model(name, weights=weights)
        except (ValueError, KeyError) as error:
            raise ConfigError(f"trunk.weights must be known to torchvision for {name}, got {weights!r}") from error
        self.body = IntermediateLayerGetter(network, {f"layer{number}": str(number) for number in range(1, 5)})
        self.channels = _DEPTHS[name]

    def forward(self, images: Tensor) -> list[Tensor]:
        """See the base class."""
        return list(self.body(images).values())


@final
class TinyTrunk(AbstractTrunk):
    """A small trunk with batch norm.

    Args:
        widths: channels at strides 2, 4, 8, 16 and 32.

    Raises:
        ConfigError: there are not five numbers >= 1.
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 64, 64, 64)) -> None:
        super().__init__()
        if len(widths) != 5 or min(widths) < 1:
            raise ConfigError(f"trunk.widths must be five numbers >= 1, got {list(widths)}")
        ends = list(zip((3, *widths), widths, strict=False))
        # the first sees all pixels: strokes are thin
        self.stages = nn.ModuleList([tiny_stage(*ends[0], (1, 2)), *(tiny_stage(*each, (2, 1)) for each in ends[1:])])
        self.channels = tuple(widths[1:])

    def forward(self, images: Tensor) -> list[Tensor]:
        """See the base class."""
        maps = [images]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[2:]


@final
class DeformableConv(nn.Module):
    """A 3x3 convolution that looks where a convolution tells it to, and at each place as much as that tells.

    The second version (Zhu et al. 2019, "Deformable ConvNets v2"), its nine offsets and weights 0 and 1/2 at the start:
    half of a plain convolution. In float32 whatever the precision of the pass, for want of a kernel on some devices.

    Args:
        before: channels.
        after: channels.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.places = nn.Conv2d(before, 27, 3, padding=1)
        nn.init.zeros_(self.places.weight)
        nn.init.zeros_(self.places.bias)  # type: ignore[arg-type]  # it has one
        self.conv = DeformConv2d(before, after, 3, padding=1)

    def forward(self, map_: Tensor) -> Tensor:
        """``[B before h w]`` -> ``Float32[B after h w]``."""
        told = self.places(map_).float()
        seen: Tensor = self.conv(map_.float(), told[:, :18].contiguous(), told[:, 18:].sigmoid())
        return seen


@final
class CenterNet(nn.Module):
    """A trunk, three stages of up-sampling to a stride of 4, and heads for heat, size and offset.

    Args:
        trunk: of four maps.
        num_classes: K.
        widths: channels of the three stages; 256, 128 and 64 with deformable convolutions, three times 256 without, as
            in their model zoo.
        head_width: channels inside each head.
        deformable: whether each stage begins with a deformable convolution; else with a plain one.
        dropout: probability before the last layer of the heat's head; what MC-dropout draws from.

    Raises:
        ConfigError: a number is out of range.
    """

    def __init__(
        self,
        trunk: AbstractTrunk,
        num_classes: int,
        *,
        widths: Sequence[int] = (256, 128, 64),
        head_width: int = 64,
        deformable: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(widths) != 3 or min(*widths, head_width) < 1:
            raise ConfigError(
                f"network.widths must be three numbers >= 1, head_width one, got {list(widths)} and {head_width}"
            )
        if not 0 <= dropout < 1:
            raise ConfigError(f"network.dropout must be in [0, 1), got {dropout}")
        self.trunk = trunk
        pairs = zip((trunk.channels[-1], *widths), widths, strict=False)
        self.up = nn.ModuleList(_doubling(*pair, deformable) for pair in pairs)
        self.stage_channels = tuple(trunk.channels)
        self.up_channels = (trunk.channels[-1], *widths)
        self.heat = _head(widths[-1], head_width, num_classes, dropout)
        nn.init.constant_(self.heat[-1].bias, _HEAT_BIAS)  # type: ignore[arg-type]  # it has one
        self.sizes, self.offsets = (_head(widths[-1], head_width, 2, 0.0) for _ in range(2))
        for head in (self.sizes, self.offsets):
            for layer in (head[0], head[-1]):
                nn.init.normal_(layer.weight, std=0.001)  # type: ignore[arg-type]
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def stages(self, images: Tensor) -> list[Tensor]:
        """``Float[B 3 H W]`` -> the trunk's maps, C2 to C5.

        Raises:
            ConfigError: H or W is no multiple of 32, so that a doubled map is not the one before.
        """
        if images.shape[2] % COARSEST or images.shape[3] % COARSEST:
            raise ConfigError(
                f"images must be padded to multiples of {COARSEST} (data.pad_to: {COARSEST}), "
                f"got {list(images.shape[2:])}"
            )
        maps: list[Tensor] = self.trunk(images)
        return maps

    def upsampled(self, last: Tensor) -> list[Tensor]:
        """C5 -> C5 and what each stage of up-sampling makes of it: strides 32, 16, 8 and 4."""
        maps = [last]
        for stage in self.up:
            maps.append(stage(maps[-1]))
        return maps

    def heads(self, map_: Tensor) -> CenterOutput:
        """Say of the last map, in float32 whatever the precision of the pass; the heat in logits."""
        return CenterOutput(self.heat(map_).float(), self.sizes(map_).float(), self.offsets(map_).float())

    def forward(self, images: Tensor) -> CenterOutput:
        """``Float[B 3 H W]``, sides multiples of 32 -> what the heads say."""
        return self.heads(self.upsampled(self.stages(images)[-1])[-1])


def _doubling(before: int, after: int, deformable: bool) -> nn.Sequential:
    """Make a stage of up-sampling: a convolution to other channels, then a transposed one of stride 2."""
    convolution = DeformableConv(before, after) if deformable else nn.Conv2d(before, after, 3, padding=1)
    transposed = nn.ConvTranspose2d(after, after, 4, stride=2, padding=1, bias=False)
    with torch.no_grad():
        transposed.weight.copy_(bilinear(after))
    layers = [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, transposed, nn.BatchNorm2d(after), nn.ReLU(inplace=True))


def bilinear(channels: int) -> Tensor:
    """``Float[channels channels 4 4]``: a transposed convolution of stride 2 that interpolates each channel by itself.

    Their code fills the weights to the first channel alone, and leaves the others to chance.
    """
    side = torch.tensor([0.25, 0.75, 0.75, 0.25])
    return torch.eye(channels)[:, :, None, None] * (side[:, None] * side)


def _head(before: int, width: int, outputs: int, dropout: float) -> nn.Sequential:
    dropped = [nn.Dropout(dropout)] if dropout > 0 else []
    return nn.Sequential(
        nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True), *dropped, nn.Conv2d(width, outputs, 1)
    )
