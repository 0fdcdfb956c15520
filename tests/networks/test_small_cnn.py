import pytest
import torch
from torch import nn

from alpl.networks.small_cnn import SmallCnn


@pytest.mark.parametrize(("widths", "side"), [((16, 32), 8), ((5,), 3), ((4, 8, 16), 32)])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_the_last_width_is_what_comes_out(widths, side, in_channels):
    network = SmallCnn(in_channels, widths)
    assert network(torch.rand(2, in_channels, side, side)).shape == (2, widths[-1])
    assert network.num_features == widths[-1]


def test_stages_are_two_convolutions_with_batch_norm_and_halve_the_side():
    network = SmallCnn(1, (4, 8)).eval()
    shapes = []
    for layer in network.layers:
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _, inputs, out: shapes.append((*inputs[0].shape[1:], *out.shape[1:])))
    network(torch.rand(1, 1, 8, 8))
    assert shapes == [(1, 8, 8, 4, 8, 8), (4, 8, 8, 4, 8, 8), (4, 4, 4, 8, 4, 4), (8, 4, 4, 8, 4, 4)]
    convolutions = 9 * (1 * 4 + 4 * 4 + 4 * 8 + 8 * 8)
    assert sum(parameter.numel() for parameter in network.parameters()) == convolutions + 2 * (4 + 4 + 8 + 8)


def test_the_average_is_over_the_whole_map():
    network = SmallCnn(1, (4,)).eval()
    whole = network.layers[:-2](images := torch.rand(1, 1, 6, 6)).mean((2, 3))
    torch.testing.assert_close(network(images), whole)
