import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

import alpl.networks.fpn
from alpl.errors import ConfigError
from alpl.networks.fpn import TinyFpn, TorchvisionFpn

LAST = {"resnet50": 2048, "mobilenet_v2": 320, "swin_t": 768}


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", LAST)
@torch.no_grad()
def test_maps_have_one_width_and_the_strides_of_their_levels(name):
    images = torch.rand(1, 3, 64, 96)
    from_p2 = TorchvisionFpn(name, top="pool", first_level=2, width=8).eval()
    maps = from_p2(images)
    assert [tuple(each.shape) for each in maps.values()] == [
        (1, 8, 16, 24), (1, 8, 8, 12), (1, 8, 4, 6), (1, 8, 2, 3), (1, 8, 1, 2)
    ]  # fmt: skip
    assert torch.equal(maps["pool"], maps["3"][..., ::2, ::2])
    from_p3 = TorchvisionFpn(name, top="p6p7", first_level=3, width=8).eval()
    assert [tuple(each.shape[2:]) for each in from_p3(images).values()] == [(8, 12), (4, 6), (2, 3), (1, 2), (1, 1)]
    for each in (from_p2, from_p3):
        assert (each.out_channels, each.num_maps, each.num_features) == (8, 5, LAST[name])
        assert list(each.trunk(images).values())[-1].shape == (1, LAST[name], 2, 3)


@pytest.mark.parametrize("top", ["p6p7", "p6p7_on_p5"])
@torch.no_grad()
def test_the_resnet_is_that_of_torchvision(top):
    block = LastLevelP6P7(2048 if top == "p6p7" else 256, 256)
    theirs = resnet_fpn_backbone(
        backbone_name="resnet50", weights=None, norm_layer=nn.BatchNorm2d, returned_layers=[2, 3, 4], extra_blocks=block
    ).eval()
    ours = TorchvisionFpn("resnet50", top=top).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.rand(1, 3, 64, 64)
    for own, other in zip(ours(images).items(), theirs(images).items(), strict=True):
        assert own[0] == other[0] and torch.equal(own[1], other[1])


def test_p6_is_on_the_map_that_was_asked_for_where_both_have_one_width(monkeypatch):
    images = torch.rand(1, 3, 64, 64)
    for top, on_p5 in (("p6p7", False), ("p6p7_on_p5", True)):
        network = TorchvisionFpn("mobilenet_v2", top=top, width=320).eval()
        with torch.no_grad():
            trunk = network.trunk(images)
            maps = network.pyramid(trunk)
            below = maps["2"] if on_p5 else trunk["2"]
            assert torch.equal(maps["p6"], network.fpn.extra_blocks.p6(below))


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2", "swin_t"])
@pytest.mark.parametrize("trained", [0, 2, 3, 5])
def test_with_weights_the_first_stages_and_batch_norm_are_frozen(monkeypatch, name, trained):
    made = torchvision.models.get_model
    monkeypatch.setattr(  # no file to read here: what is asked for, with random numbers
        alpl.networks.fpn.torchvision.models, "get_model", lambda name, weights, **options: made(name, **options)
    )
    network = TorchvisionFpn(name, weights="IMAGENET1K_V1", trainable_stages=trained, width=8)
    stages = alpl.networks.fpn._NETWORKS[name].modules
    for place, names in enumerate(stages):
        for module in (network.body[each] for each in names):
            assert {p.requires_grad for p in module.parameters()} <= {place >= 5 - trained}
    assert all(p.requires_grad for p in network.fpn.parameters())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    frozen = [layer for layer in network.modules() if isinstance(layer, FrozenBatchNorm2d)]
    assert bool(frozen) == (name != "swin_t")
    fresh = TorchvisionFpn(name, trainable_stages=trained, width=8)
    assert all(p.requires_grad for p in fresh.parameters())
    assert not any(isinstance(layer, FrozenBatchNorm2d) for layer in fresh.modules())


@torch.no_grad()
def test_the_maps_of_swin_are_normalized_stages():
    network = TorchvisionFpn("swin_t", first_level=4, width=8).eval()
    images = torch.rand(1, 3, 64, 64)
    current = images
    for stage in network.body.values():
        current = stage(current)  # [B h w C]
    mean, std = current.mean(-1, keepdim=True), current.std(-1, keepdim=True, unbiased=False)
    expected = ((current - mean) / (std**2 + 1e-5).sqrt()).permute(0, 3, 1, 2)
    torch.testing.assert_close(network.trunk(images)["1"], expected, rtol=1e-4, atol=1e-4)


def test_the_tiny_one_is_small_and_learns_in_every_part():
    network = TinyFpn()
    maps = network(torch.rand(2, 3, 96, 96))
    assert [tuple(each.shape) for each in maps.values()] == [(2, 32, side, side) for side in (24, 12, 6, 3)]
    assert (network.out_channels, network.num_maps, network.num_features) == (32, 4, 64)
    sum(each.square().mean() for each in maps.values()).backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"name": "resnet18"}, "name must be one of resnet50, .*'resnet18'"),
        ({"weights": "IMAGENET9"}, "weights must be known to torchvision for resnet50, got 'IMAGENET9'"),
        ({"trainable_stages": 6}, "trainable_stages must be an int from 0 to 5, got 6"),
        ({"top": "p8"}, "top must be one of p6p7, p6p7_on_p5, pool, got 'p8'"),
        ({"first_level": 1}, "first_level must be an int from 2 to 5, got 1"),
        ({"width": 0}, "width must be"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        TorchvisionFpn(**({"name": "resnet50"} | options))
    with pytest.raises(ConfigError, match="widths must be"):
        TinyFpn(widths=(1, 2))
