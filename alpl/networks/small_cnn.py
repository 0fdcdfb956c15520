"""A small convolutional backbone for 8x8 digits and for quick trials."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn


@final
class SmallCnn(nn.Module):
    """Stages of two 3x3 convolutions with batch norm, halving the side between stages; global average at the end.

    Its ``stages`` are the last layers of each, see :class:`alpl.networks.classification.Backbone`.

    Args:
        in_channels: channels of an image.
        widths: channels of each stage; F is the last.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...] = (32, 64)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.stages: dict[str, int] = {}
        for stage, width in enumerate(widths):
            if stage:
                layers.append(nn.MaxPool2d(2))
            for _ in range(2):
                layers += [nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
                in_channels = width
            self.stages[f"layers.{len(layers) - 1}"] = width
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.num_features = in_channels

    def forward(self, images: Tensor) -> Tensor:
        """``[B C H W]`` -> ``[B F]``."""
        features: Tensor = self.layers(images)
        return features
