"""The single shot detector: a backbone that gives maps of falling size, and two 3x3 heads on each map.

Axes: B images, P priors, C = K + 1 outputs (0 is the background), W and X values of a class and a box head, F image
features. Images are RGB, 0 to 255 less the means that the data subtracts; weights that were trained for other scales
are converted when they are loaded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple, final

import torch
import torchvision
from torch import Tensor, nn

from alpl.config.partial_parts import complete
from alpl.errors import ConfigError
from alpl.networks.heads import AbstractBoxHead, AbstractClassHead, Heads, PointBoxes, SoftmaxClasses

_IMAGENET_STD = (0.229, 0.224, 0.225)  # RGB of pixels of 0 to 1, what torchvision's weights expect


class SsdOutput(NamedTuple):
    """What one pass gives."""

    classes: Tensor
    """``Float[B P W]``, what the class heads say."""
    boxes: Tensor
    """``Float[B P X]``, what the box heads say."""
    maps: tuple[Tensor, ...]
    """``[B channels side side]``, the maps that the heads saw."""
    image_features: Tensor
    """``Float[B F]``, global average of the last pretrained layer (fc7 of VGG-16)."""
    heads: Heads = Heads()
    """How both are read."""

    @property
    def logits(self) -> Tensor:
        """``Float[B P C]``: their softmax is the posterior."""
        return self.heads.classes.logits(self.classes)

    @property
    def deltas(self) -> Tensor:
        """``Float[B P 4]``, see :func:`alpl.boxes.box_coding.decode`."""
        return self.heads.boxes.deltas(self.boxes)

    def of(self, images: Tensor | slice) -> SsdOutput:
        """Give what the pass gave for some of its images (``Long[n]``, ``Bool[B]`` or a slice)."""
        maps = tuple(map_[images] for map_ in self.maps)
        return SsdOutput(self.classes[images], self.boxes[images], maps, self.image_features[images], self.heads)


class AbstractSsdBackbone(nn.Module, ABC):
    """A backbone in two parts, so that several passes with dropout share what comes before it.

    Attributes:
        map_channels: channels of each map.
        num_features: F.
    """

    map_channels: tuple[int, ...]
    num_features: int

    @abstractmethod
    def trunk(self, images: Tensor) -> tuple[Tensor, ...]:
        """``[B 3 H W]`` -> all that comes before the first dropout layer."""

    @abstractmethod
    def maps(self, trunk: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor]:
        """Go on from :meth:`trunk`: the maps, and the map of F channels that image features are the average of."""


@final
class Ssd(nn.Module):
    """Class logits and box deltas for every prior (Liu et al. 2016).

    Args:
        backbone: makes the backbone from ``dropout``.
        num_outputs: C.
        boxes_per_cell: priors a cell, one number a map; see :class:`alpl.boxes.priors.PriorLayout`.
        dropout: probability in the backbone's extra layers; what MC-dropout draws from.
        classes: what the class heads' values mean, see :mod:`alpl.networks.heads`; None for plain logits.
        boxes: what the box heads' values mean; None for plain deltas.

    Raises:
        ConfigError: ``boxes_per_cell`` does not have one number a map, or ``dropout`` is outside [0, 1).
    """

    def __init__(
        self,
        backbone: Callable[..., AbstractSsdBackbone],
        num_outputs: int,
        boxes_per_cell: Sequence[int],
        dropout: float = 0.0,
        classes: AbstractClassHead | None = None,
        boxes: AbstractBoxHead | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout must be in [0, 1), got {dropout}")
        self.backbone = complete(backbone, "model.network.backbone", dropout=dropout)
        channels = self.backbone.map_channels
        if len(boxes_per_cell) != len(channels):
            raise ConfigError(f"boxes_per_cell must have {len(channels)} numbers, got {list(boxes_per_cell)}")
        if num_outputs < 2:
            raise ConfigError(f"num_outputs must be >= 2 (background and a class), got {num_outputs}")
        self.num_outputs = num_outputs
        self.num_features = self.backbone.num_features
        self.heads = Heads(classes or SoftmaxClasses(), boxes or PointBoxes())
        self.class_heads = _heads(channels, boxes_per_cell, self.heads.classes.num_values(num_outputs), num_outputs)
        self.box_heads = _heads(channels, boxes_per_cell, self.heads.boxes.num_values, 4)

    def forward(self, images: Tensor) -> SsdOutput:
        """``Float[B 3 H W]`` -> what the heads say, maps, image features."""
        return self.from_trunk(self.trunk(images))

    def trunk(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute what several passes with dropout have in common."""
        return self.backbone.trunk(images)

    def from_trunk(self, trunk: tuple[Tensor, ...]) -> SsdOutput:
        """Compute the rest of a pass from :meth:`trunk`."""
        maps, last = self.backbone.maps(trunk)
        classes = _of_priors(self.class_heads, maps, self.heads.classes.num_values(self.num_outputs))
        boxes = _of_priors(self.box_heads, maps, self.heads.boxes.num_values)
        return SsdOutput(classes, boxes, maps, last.mean((2, 3)), self.heads)


@final
class ResNetSsd(AbstractSsdBackbone):
    """ResNet-34 or -50 up to its third stage, that stage with stride 1, and five extra stages.

    As in the SSD of Nvidia's examples (MLPerf): 300 pixels give maps of 38, 19, 10, 5, 3 and 1. Dropout is behind each
    extra stage.

    Args:
        depth: 34 or 50.
        weights: a weights enum of torchvision by name, e.g. "IMAGENET1K_V1" (fetched by torchvision where they are not
            cached), or null for none.
        dropout: probability.

    Raises:
        ConfigError: another depth, or weights that torchvision does not know.
    """

    def __init__(self, depth: int, weights: str | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        if depth not in (34, 50):
            raise ConfigError(f"depth must be 34 or 50, got {depth}")
        try:
            network = torchvision.models.get_model(f"resnet{depth}", weights=weights)
        except (ValueError, KeyError) as error:
            raise ConfigError(f"weights must be known to torchvision for resnet{depth}, got {weights!r}") from error
        _keep_resolution(network.layer3[0])
        expect_bytes(network.conv1)
        self.stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
        self.layers = nn.Sequential(network.layer1, network.layer2, network.layer3)
        self.num_features = 256 if depth == 34 else 1024
        self.map_channels = (self.num_features, 512, 512, 256, 256, 256)
        ends = zip(self.map_channels, self.map_channels[1:], strict=False)
        middles = ((256, 2), (256, 2), (128, 2), (128, 1), (128, 1))
        self.extras = nn.ModuleList(
            bn_stage(before, middle, after, stride)
            for (before, after), (middle, stride) in zip(ends, middles, strict=True)
        )
        self.dropout = nn.Dropout(dropout)

    def trunk(self, images: Tensor) -> tuple[Tensor, ...]:
        """See the base class."""
        return (self.layers(self.stem(images)),)

    def maps(self, trunk: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor]:
        """See the base class; image features are those of the third stage."""
        return follow(trunk[0], self.extras, self.dropout), trunk[0]


@final
class TinySsd(AbstractSsdBackbone):
    """A small backbone with batch norm: 96 pixels give maps of 24, 12, 6 and 3.

    Args:
        widths: channels at the full side, at half of it, and at a quarter; the last is the width of all maps, F.
        dropout: probability behind each map.

    Raises:
        ConfigError: there are not three widths.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 64), dropout: float = 0.0) -> None:
        super().__init__()
        if len(widths) != 3:
            raise ConfigError(f"widths must be three numbers, got {list(widths)}")
        first, second, width = widths
        self.layers = nn.Sequential(
            *_conv_bn(3, first, 3, padding=1),
            *_conv_bn(first, second, 3, stride=2, padding=1),
            *_conv_bn(second, second, 3, padding=1),
            *_conv_bn(second, width, 3, stride=2, padding=1),
            *_conv_bn(width, width, 3, padding=1),
            *_conv_bn(width, width, 3, padding=1),
        )
        self.num_features = width
        self.map_channels = (width,) * 4
        self.extras = nn.ModuleList(bn_stage(width, width, width, stride=2) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def trunk(self, images: Tensor) -> tuple[Tensor, ...]:
        """See the base class."""
        return (self.layers(images),)

    def maps(self, trunk: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor]:
        """See the base class; image features are those of the first map."""
        return follow(self.dropout(trunk[0]), self.extras, self.dropout), trunk[0]


def follow(first: Tensor, stages: nn.ModuleList, dropout: nn.Module) -> tuple[Tensor, ...]:
    """Give ``first`` and the output of each stage, one stage on the other's output."""
    maps = [first]
    for stage in stages:
        maps.append(dropout(stage(maps[-1])))
    return tuple(maps)


def bn_stage(in_channels: int, middle: int, out_channels: int, stride: int) -> nn.Sequential:
    """1x1 and 3x3 convolution with batch norm; a stride of 2 halves the side (rounding up), 1 takes 2 pixels off it."""
    stage = nn.Sequential(
        *_conv_bn(in_channels, middle, 1), *_conv_bn(middle, out_channels, 3, stride=stride, padding=stride - 1)
    )
    return xavier(stage)


def xavier(module: nn.Sequential) -> nn.Sequential:
    """Initialize every convolution inside: Xavier uniform weights and zero biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module


def expect_bytes(conv: nn.Module) -> None:
    """Make a first layer for images in units of ImageNet's deviation one for pixels of 0 to 255 (less a mean)."""
    assert isinstance(conv, nn.Conv2d), "first layers are convolutions"
    with torch.no_grad():
        conv.weight /= 255 * torch.tensor(_IMAGENET_STD).view(1, 3, 1, 1)


def _conv_bn(in_channels: int, out_channels: int, kernel: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=padding, bias=False)
    return [conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]


def _heads(channels: Sequence[int], boxes_per_cell: Sequence[int], width: int, num_xavier: int) -> nn.Sequential:
    """Make a 3x3 convolution for each map.

    The first values of each prior begin with Xavier uniform weights and zero biases, the others as torch begins a
    layer: of a mixture (AL-MDN, as released; the text does not say) these are the means of its first component.

    Args:
        channels: of each map.
        boxes_per_cell: priors a cell of each map.
        width: values of a prior.
        num_xavier: how many of them begin so.
    """
    numbers = zip(channels, boxes_per_cell, strict=True)
    heads = [nn.Conv2d(before, boxes * width, 3, padding=1) for before, boxes in numbers]
    for head, boxes in zip(heads, boxes_per_cell, strict=True):
        assert head.bias is not None, "heads have biases"
        with torch.no_grad():
            first = head.weight.view(boxes, width, *head.weight.shape[1:])[:, :num_xavier]
            first.copy_(nn.init.xavier_uniform_(torch.empty_like(first).flatten(0, 1)).view_as(first))
            head.bias.view(boxes, width)[:, :num_xavier] = 0
    return nn.Sequential(*heads)


def _of_priors(heads: nn.Sequential, maps: Sequence[Tensor], width: int) -> Tensor:
    """``[B P width]``: what one head a map says."""
    return torch.cat([_per_prior(head(map_), width) for head, map_ in zip(heads, maps, strict=True)], 1)


def _per_prior(values: Tensor, width: int) -> Tensor:
    """``[B boxes*width H W]`` -> ``[B H*W*boxes width]``: row, column, prior of the cell, as the priors are ordered."""
    return values.permute(0, 2, 3, 1).reshape(len(values), -1, width)


def _keep_resolution(block: nn.Module) -> None:
    """Take the stride out of the first block of a ResNet stage."""
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d):
            layer.stride = (1, 1)
