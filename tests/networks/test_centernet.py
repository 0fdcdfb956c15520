import pytest
import torch
from torch.nn.functional import conv2d, conv_transpose2d, interpolate

from alpl.errors import ConfigError
from alpl.networks.centernet import CenterNet, DeformableConv, ResNetTrunk, TinyTrunk, bilinear

TINY = {"widths": (8, 6, 4), "head_width": 5}


def tiny(**options):
    torch.manual_seed(0)
    return CenterNet(TinyTrunk((4, 4, 6, 8, 10)), 3, **TINY | options).eval()


def test_a_deformable_convolution_begins_as_half_of_a_plain_one():
    layer, map_ = DeformableConv(3, 5), torch.randn(2, 3, 6, 7)
    plain = conv2d(map_, layer.conv.weight, padding=1)
    torch.testing.assert_close(layer(map_), plain / 2 + layer.conv.bias[:, None, None])


@torch.no_grad()
def test_a_deformable_convolution_looks_where_it_is_told():
    layer, map_ = DeformableConv(1, 1), torch.randn(1, 1, 6, 7)
    layer.places.bias[:18] = torch.tensor([1.0, 2.0]).repeat(9)  # a row down, two columns right
    layer.places.bias[18:] = 100.0  # all of it
    plain = conv2d(map_, layer.conv.weight, layer.conv.bias, padding=1)
    torch.testing.assert_close(layer(map_)[:, :, 1:4, 1:3], plain[:, :, 2:5, 3:5])
    assert layer(map_.bfloat16().float()).dtype == torch.float32


def test_doubling_begins_as_interpolation():
    map_ = torch.randn(1, 3, 5, 6)
    found = conv_transpose2d(map_, bilinear(3), stride=2, padding=1)
    expected = interpolate(map_, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(found[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1])


@pytest.mark.parametrize("deformable", [True, False])
@torch.no_grad()
def test_maps_and_heads(deformable):
    network, images = tiny(deformable=deformable), torch.randn(2, 3, 64, 96)
    stages = network.stages(images)
    maps = network.upsampled(stages[-1])
    assert [tuple(each.shape[1:]) for each in stages] == [(4, 16, 24), (6, 8, 12), (8, 4, 6), (10, 2, 3)]
    assert [tuple(each.shape[1:]) for each in maps] == [(10, 2, 3), (8, 4, 6), (6, 8, 12), (4, 16, 24)]
    assert network.stage_channels == (4, 6, 8, 10) and network.up_channels == (10, 8, 6, 4)
    output = network(images)
    assert [each.shape[1] for each in output] == [3, 2, 2] and output.heat.shape[2:] == (16, 24)
    assert 0.05 < float(output.heat.sigmoid().mean()) < 0.2 and float(output.sizes.abs().max()) < 0.1


@torch.no_grad()
def test_the_published_network():
    network = CenterNet(ResNetTrunk("resnet18"), 20).eval()
    assert network.stage_channels == (64, 128, 256, 512) and network.up_channels == (512, 256, 128, 64)
    assert [each.conv.weight.shape[:2] for each in (up[0] for up in network.up)] == [(256, 512), (128, 256), (64, 128)]
    assert network(torch.zeros(1, 3, 32, 64)).heat.shape == (1, 20, 8, 16)


def test_what_cannot_be_made_is_refused():
    for make, message in (
        (lambda: tiny(dropout=1.0), r"network\.dropout must be in \[0, 1\), got 1\.0"),
        (lambda: tiny(widths=(4, 4)), r"network\.widths must be three numbers"),
        (lambda: TinyTrunk((4, 4)), r"trunk\.widths must be five numbers"),
        (lambda: ResNetTrunk("vgg16"), r"trunk\.name must be one of resnet18"),
        (lambda: ResNetTrunk("resnet18", "NONE"), r"trunk\.weights must be known to torchvision"),
        (lambda: tiny()(torch.zeros(1, 3, 64, 80)), r"multiples of 32 \(data\.pad_to: 32\), got \[64, 80\]"),
    ):
        with pytest.raises(ConfigError, match=message):
            make()
