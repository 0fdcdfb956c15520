"""Backbones with a feature pyramid (Lin et al. 2017): maps of one width at strides 4 or 8 and up.

Axes: B images, F image features. ``C2`` to ``C5`` are a backbone's maps of strides 4, 8, 16 and 32, ``P2`` and up those
of the pyramid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias, final

import torchvision
from torch import Tensor, nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.ops import FeaturePyramidNetwork, FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, LastLevelMaxPool, LastLevelP6P7

from alpl.errors import ConfigError

Top: TypeAlias = Literal["p6p7", "p6p7_on_p5", "pool"]

_TOPS = ("p6p7", "p6p7_on_p5", "pool")


class AbstractFpn(nn.Module, ABC):
    """What the detectors of torchvision expect of a backbone, in two parts.

    Attributes:
        out_channels: the width of all maps.
        num_maps: how many maps it gives.
        num_features: F, channels of the backbone's last map (C5), whose average is the feature of an image.
    """

    out_channels: int
    num_maps: int
    num_features: int

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """``Float[B 3 H W]`` -> the maps of the pyramid, finest first."""
        return self.pyramid(self.trunk(images))

    @abstractmethod
    def trunk(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """``Float[B 3 H W]`` -> the maps of the backbone, finest first; the last is C5."""

    @abstractmethod
    def pyramid(self, trunk: OrderedDict[str, Tensor]) -> OrderedDict[str, Tensor]:
        """Go on from :meth:`trunk`: ``Float[B out_channels h w]`` each."""


class _Stages(NamedTuple):
    """Where a network of torchvision has its stages: the stem and those that end in C2 to C5."""

    modules: tuple[tuple[str, ...], ...]
    """Names of the modules of each of the five."""
    channels: tuple[int, ...]
    """Of C2 to C5."""
    inside: str | None
    """The module that holds them; None for the network itself."""
    channels_last: bool = False


def _numbers(*ends: int) -> tuple[tuple[str, ...], ...]:
    """Name the numbered modules up to each end, none twice."""
    starts = (0, *ends[:-1])
    return tuple(tuple(str(number) for number in range(*part)) for part in zip(starts, ends, strict=True))


_RESNET = _Stages((("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",)), (256, 512, 1024, 2048), None)
_NETWORKS = {
    "resnet50": _RESNET,
    "resnet101": _RESNET,
    "mobilenet_v2": _Stages(_numbers(2, 4, 7, 14, 18), (24, 32, 96, 320), "features"),  # less the last 1x1 convolution
    "swin_t": _Stages(_numbers(1, 2, 4, 6, 8), (96, 192, 384, 768), "features", channels_last=True),
}


@final
class TorchvisionFpn(AbstractFpn):
    """A classification network of torchvision and a pyramid on its maps.

    With ``weights``, batch norm is frozen (statistics and scales) and only the last stages are trained, as published.
    Without, all of it is trained, as random numbers are not worth keeping; so does torchvision. Parameters of the
    ResNets are named as in torchvision's detectors. Each map of Swin gets a layer norm of its own, as in its authors'
    detectors (Liu et al. 2021).

    Args:
        name: resnet50, resnet101, mobilenet_v2 or swin_t.
        weights: a weights enum of torchvision by name, e.g. "IMAGENET1K_V1" (fetched by torchvision where they are not
            cached), or null for none.
        trainable_stages: how many of the five stages are trained, counted from the last one; the first is the stem.
        top: what comes after the last map: "p6p7", two convolutions of stride 2 on C5 (Lin et al. 2017, RetinaNet);
            "p6p7_on_p5", the same on P5 (FCOS, and torchvision's RetinaNet); "pool", every second cell of P5 (Faster
            R-CNN).
        first_level: 2 for maps from P2 on (stride 4), 3 for P3 (stride 8), 4 or 5.
        width: channels of the pyramid.
        frozen: freeze without weights, too: where those of a whole detector are loaded later.

    Raises:
        ConfigError: an argument is not one of these, or torchvision does not know the weights.
    """

    def __init__(
        self,
        name: str,
        weights: str | None = None,
        trainable_stages: int = 3,
        top: Top = "p6p7",
        first_level: int = 3,
        width: int = 256,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        _check(name, trainable_stages, top, first_level, width)
        stages = _NETWORKS[name]
        freezes = frozen or weights is not None
        network = _classifier(name, weights, freezes=freezes)
        if freezes:
            _freeze(network, stages.modules[: 5 - trainable_stages])
        ends = [names[-1] for names in stages.modules[first_level - 1 :]]
        channels = stages.channels[first_level - 2 :]
        self.body = IntermediateLayerGetter(network, {end: str(place) for place, end in enumerate(ends)})
        self.norms = nn.ModuleList(nn.LayerNorm(number) for number in channels) if stages.channels_last else None
        self.fpn = FeaturePyramidNetwork(list(channels), width, _top_block(top, channels[-1], width))
        self.out_channels, self.num_features = width, channels[-1]
        self.num_maps = len(channels) + (1 if top == "pool" else 2)

    def trunk(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """See the base class."""
        maps: OrderedDict[str, Tensor] = self.body(images)
        if self.norms is None:
            return maps
        normed = zip(maps.items(), self.norms, strict=True)
        return OrderedDict((key, norm(map_).permute(0, 3, 1, 2).contiguous()) for (key, map_), norm in normed)

    def pyramid(self, trunk: OrderedDict[str, Tensor]) -> OrderedDict[str, Tensor]:
        """See the base class."""
        maps: OrderedDict[str, Tensor] = self.fpn(trunk)
        return maps


@final
class TinyFpn(AbstractFpn):
    """A small backbone and pyramid with batch norm: 96 pixels give maps of 24, 12, 6 and 3 (strides 4 to 32).

    Args:
        width: channels of the pyramid.
        widths: channels of the backbone at strides 2, 4, 8, 16 and 32.

    Raises:
        ConfigError: a number is below 1, or there are not five widths.
    """

    def __init__(self, width: int = 32, widths: Sequence[int] = (32, 64, 64, 64, 64)) -> None:
        super().__init__()
        if len(widths) != 5 or min(*widths, width) < 1:
            raise ConfigError(f"width and widths must be one and five numbers >= 1, got {width} and {list(widths)}")
        ends = list(zip((3, *widths), widths, strict=False))
        # the first sees all pixels: strokes are thin
        self.stages = nn.ModuleList([tiny_stage(*ends[0], (1, 2)), *(tiny_stage(*each, (2, 1)) for each in ends[1:])])
        self.fpn = FeaturePyramidNetwork(list(widths[1:]), width, norm_layer=nn.BatchNorm2d)
        self.out_channels, self.num_maps, self.num_features = width, 4, widths[-1]

    def trunk(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """See the base class."""
        maps: OrderedDict[str, Tensor] = OrderedDict()
        current = images
        for place, stage in enumerate(self.stages):
            current = stage(current)
            if place:
                maps[str(place - 1)] = current
        return maps

    def pyramid(self, trunk: OrderedDict[str, Tensor]) -> OrderedDict[str, Tensor]:
        """See the base class."""
        maps: OrderedDict[str, Tensor] = self.fpn(trunk)
        return maps


def _check(name: str, trainable_stages: int, top: str, first_level: int, width: int) -> None:
    if name not in _NETWORKS:
        raise ConfigError(f"name must be one of {', '.join(_NETWORKS)}, got {name!r}")
    if top not in _TOPS:
        raise ConfigError(f"top must be one of {', '.join(_TOPS)}, got {top!r}")
    for argument, value, least, most in (
        ("trainable_stages", trainable_stages, 0, 5),
        ("first_level", first_level, 2, 5),
        ("width", width, 1, 2**16),
    ):
        if not least <= value <= most:
            raise ConfigError(f"{argument} must be an int from {least} to {most}, got {value!r}")


def _classifier(name: str, weights: str | None, *, freezes: bool) -> nn.Module:
    """Make the network that holds the stages."""
    stages = _NETWORKS[name]
    try:
        options = {"norm_layer": FrozenBatchNorm2d} if freezes and not stages.channels_last else {}
        network: nn.Module = torchvision.models.get_model(name, weights=weights, **options)
    except (ValueError, KeyError) as error:
        raise ConfigError(f"weights must be known to torchvision for {name}, got {weights!r}") from error
    return network if stages.inside is None else network.get_submodule(stages.inside)


def _freeze(network: nn.Module, stages: Sequence[Sequence[str]]) -> None:
    for names in stages:
        for name in names:
            network.get_submodule(name).requires_grad_(False)


def _top_block(top: Top, last_channels: int, width: int) -> ExtraFPNBlock:
    """Make what follows P5.

    torchvision's block looks at its own widths to choose between C5 and P5, which is wrong where both are equal.
    """
    if top == "pool":
        return LastLevelMaxPool()
    block = LastLevelP6P7(last_channels if top == "p6p7" else width, width)
    block.use_P5 = top == "p6p7_on_p5"
    return block


def tiny_stage(before: int, after: int, strides: Sequence[int]) -> nn.Sequential:
    """3x3 convolutions, batch norm and ReLU behind each."""
    layers: list[nn.Module] = []
    for channels, stride in zip((before, after), strides, strict=True):
        layers += [nn.Conv2d(channels, after, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(after)]
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
