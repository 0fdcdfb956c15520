"""Dropout at inference, for MC-dropout (Gal and Ghahramani 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

_KINDS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def dropouts(network: nn.Module) -> list[nn.Module]:
    """Give the dropout layers of a network that do drop."""
    return [layer for layer in network.modules() if isinstance(layer, _KINDS) and layer.p > 0]


@contextmanager
def dropped(network: nn.Module) -> Iterator[list[nn.Module]]:
    """Switch dropout on, and nothing else: batch norm stays as in evaluation. Gives the layers that drop."""
    layers = dropouts(network)
    for layer in layers:
        layer.train()
    try:
        yield layers
    finally:
        for layer in layers:
            layer.eval()
