"""VGG-16 with reduced fully connected layers, the backbone of SSD300.

Axes: B images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from alpl.errors import ConfigError
from alpl.machine.files import read_tensors
from alpl.networks.ssd import AbstractSsdBackbone, expect_bytes, follow, xavier

_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_CONV4_3 = 23  # layers up to the ReLU behind conv4_3
_POOL5 = 31  # layers up to pool5
_FC6, _FC7 = 31, 33


@final
class L2Norm(nn.Module):
    r"""Normalize each pixel over its channels and scale each channel (Liu et al. 2015, ParseNet, Eq. 1 to 3).

    .. math:: y_c = \gamma_c \frac{x_c}{\lVert x \rVert_2 + \epsilon}

    Args:
        channels: of a map.
        scale: the value that every :math:`\gamma_c`, a parameter, begins with.
    """

    eps = 1e-10

    def __init__(self, channels: int, scale: float = 20.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), scale))

    def forward(self, values: Tensor) -> Tensor:
        """``[B channels H W]``, same shape; computed in float32 or above, in which eps is not 0."""
        values = values if values.dtype == torch.float64 else values.float()
        norm = torch.linalg.vector_norm(values, dim=1, keepdim=True)
        scaled: Tensor = values * (self.weight.view(1, -1, 1, 1) / (norm + self.eps))
        return scaled


@final
class Vgg16ReducedFc(AbstractSsdBackbone):
    """VGG-16 whose fc6 and fc7 are convolutions, and four extra stages: 300 pixels give 38, 19, 10, 5, 3 and 1.

    Liu et al. 2016, sec. 2.1 and 3: pool3 rounds up, pool5 is 3x3 with stride 1, fc6 is 3x3 with dilation 6. The
    first map is conv4_3 behind :class:`L2Norm`, the second fc7. Dropout is behind the six "extra feature layers" of
    their Fig. 2: fc6, fc7, and the last convolution of each extra stage.

    Args:
        weights: a file to start from, or null; the published ``vgg16_reducedfc.pth`` or the state dict of torchvision's
            ``vgg16``, see :meth:`load_vgg16_reducedfc` and :meth:`load_torchvision_vgg16`.
        dropout: probability.

    Raises:
        ConfigError: the file does not exist or has another layout.
    """

    map_channels = (512, 1024, 512, 256, 256, 256)
    num_features = 1024

    def __init__(self, weights: str | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        if weights is not None and not Path(weights).is_file():
            raise ConfigError(
                f"model.network.backbone.weights must be a file, got {weights}, which does not exist: "
                "put the published vgg16_reducedfc.pth there (in paths.data) or a state dict of torchvision's vgg16, "
                "or begin from scratch with model.network.backbone.weights=null; model=ssd_tiny needs no file"
            )
        self.layers = nn.Sequential(*_layers())  # numbered as in vgg16_reducedfc.pth
        self.l2norm = L2Norm(512)
        self.extras = nn.ModuleList(
            [_extra(1024, 256, 512, 2), _extra(512, 128, 256, 2), _extra(256, 128, 256, 1), _extra(256, 128, 256, 1)]
        )
        self.dropout = nn.Dropout(dropout)
        if weights is None:
            _initialize(self.layers)
        elif "features.0.weight" in read_tensors(Path(weights)):
            self.load_torchvision_vgg16(Path(weights))
        else:
            self.load_vgg16_reducedfc(Path(weights))

    def trunk(self, images: Tensor) -> tuple[Tensor, ...]:
        """See the base class: conv4_3 normalized, and pool5."""
        conv4_3 = self.layers[:_CONV4_3](images)
        return self.l2norm(conv4_3), self.layers[_CONV4_3:_POOL5](conv4_3)

    def maps(self, trunk: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor]:
        """See the base class; image features are those of fc7."""
        conv4_3, pool5 = trunk
        fc6 = self.dropout(self.layers[_FC6:_FC7](pool5))
        fc7 = self.dropout(self.layers[_FC7:](fc6))
        return (conv4_3, *follow(fc7, self.extras, self.dropout)), fc7

    def load_vgg16_reducedfc(self, path: Path) -> None:
        """Load the published ImageNet weights: names "0.weight" to "31.weight" (fc6) and "33.weight" (fc7).

        Raises:
            ConfigError: the file has other names or shapes.
        """
        self._load(read_tensors(path), path)

    def load_torchvision_vgg16(self, path: Path) -> None:
        """Load a state dict of torchvision's ``vgg16``, its fully connected layers thinned out as SSD did.

        fc6 keeps every 4th output and every 3rd row and column of its 7x7 window, fc7 every 4th output and input. The
        first layer is scaled from torchvision's pixels to SSD's. A file without a classifier (torchvision's
        "IMAGENET1K_FEATURES", where it is NaN; made for SSD's pixels) leaves fc6 and fc7 as initialized.

        Raises:
            ConfigError: the file has other names or shapes.
        """
        state = read_tensors(path)
        try:
            ours = {name.removeprefix("features."): state[name] for name in state if name.startswith("features.")}
            fc6, fc6_bias = state["classifier.0.weight"], state["classifier.0.bias"]
            fc7, fc7_bias = state["classifier.3.weight"], state["classifier.3.bias"]
            fc6, fc7 = fc6.view(4096, 512, 7, 7)[::4, :, ::3, ::3], fc7.view(4096, 4096, 1, 1)[::4, ::4]
        except (KeyError, RuntimeError) as error:
            raise ConfigError(f"weights must be a state dict of torchvision's vgg16, {path}: {error}") from error
        if fc6.isnan().any():
            _initialize(self.layers)
            self._load(ours | self.layers[_FC6:].state_dict(), path)  # the names in a part are those of the whole
            return
        ours |= {f"{_FC6}.weight": fc6, f"{_FC6}.bias": fc6_bias[::4]}
        ours |= {f"{_FC7}.weight": fc7, f"{_FC7}.bias": fc7_bias[::4]}
        self._load(ours, path)
        expect_bytes(self.layers[0])

    def _load(self, state: dict[str, Any], path: Path) -> None:
        own = self.layers.state_dict()
        wrong = sorted(own.keys() ^ state.keys())
        wrong += sorted(name for name in own.keys() & state.keys() if own[name].shape != state[name].shape)
        if wrong:
            raise ConfigError(f"weights must fit VGG-16, {path} differs in {len(wrong)} tensors: {wrong[:3]}")
        self.layers.load_state_dict(state)


def _layers() -> list[nn.Module]:
    layers: list[nn.Module] = []
    in_channels = 3
    for stage, widths in enumerate(_WIDTHS, start=1):
        for width in widths:
            layers += [nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            in_channels = width
        # ceil: 75 pixels of conv3 become the 38 of conv4
        layers.append(nn.MaxPool2d(2, ceil_mode=stage == 3) if stage < 5 else nn.MaxPool2d(3, stride=1, padding=1))
    fc6 = nn.Conv2d(in_channels, 1024, 3, padding=6, dilation=6)
    return [*layers, fc6, nn.ReLU(inplace=True), nn.Conv2d(1024, 1024, 1), nn.ReLU(inplace=True)]


def _extra(in_channels: int, middle: int, out_channels: int, stride: int) -> nn.Sequential:
    """1x1 and 3x3 convolution, ReLU behind both."""
    first = nn.Conv2d(in_channels, middle, 1)
    second = nn.Conv2d(middle, out_channels, 3, stride=stride, padding=stride - 1)
    return xavier(nn.Sequential(first, nn.ReLU(inplace=True), second, nn.ReLU(inplace=True)))


def _initialize(layers: nn.Sequential) -> None:
    """Initialize as torchvision's VGG (He, fan-out), for pixels of 0 to 255; SSD always starts from ImageNet."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            assert layer.bias is not None, "VGG's convolutions have biases"
            nn.init.zeros_(layer.bias)
    expect_bytes(layers[0])
