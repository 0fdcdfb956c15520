from functools import partial
from itertools import pairwise

import pytest
import torch
import torchvision
from torch import nn

from alpl.boxes.priors import COCO_300, TINY_96, VOC_300
from alpl.data.ssd_augment import PIXEL_MEAN
from alpl.errors import ConfigError
from alpl.machine.files import write_tensors
from alpl.networks.ssd import ResNetSsd, Ssd, TinySsd
from alpl.networks.vgg import L2Norm, Vgg16ReducedFc

MAPS_300 = [38, 19, 10, 5, 3, 1]
ONE_CHANNEL_STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def _num_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture(scope="module")
def vgg():
    torch.manual_seed(0)
    return Vgg16ReducedFc().eval()


# --- layouts


@pytest.mark.parametrize(
    ("backbone", "layout", "channels"),
    [
        (Vgg16ReducedFc, VOC_300, (512, 1024, 512, 256, 256, 256)),
        (partial(ResNetSsd, 34), COCO_300, (256, 512, 512, 256, 256, 256)),
        (partial(ResNetSsd, 50), VOC_300, (1024, 512, 512, 256, 256, 256)),
        (TinySsd, TINY_96, (64,) * 4),
    ],
)
def test_maps_and_outputs_have_the_shapes_of_the_layout(backbone, layout, channels):
    with torch.device("meta"):  # shapes only: nothing is computed
        network = Ssd(backbone, 5, layout.boxes_per_cell)
        out = network(torch.zeros(2, 3, layout.image_size, layout.image_size))
    assert [tuple(map_.shape) for map_ in out.maps] == [
        (2, width, side, side) for width, side in zip(channels, layout.map_sizes, strict=True)
    ]
    assert out.logits.shape == (2, layout.num_priors, 5) and out.deltas.shape == (2, layout.num_priors, 4)
    assert out.image_features.shape == (2, network.num_features)


def test_ssd300_has_the_published_number_of_parameters():
    """Layer by layer: weights and biases of the 13 convolutions, fc6, fc7, L2Norm, extras, heads of 24 + 4 boxes."""
    with torch.device("meta"):
        network = Ssd(Vgg16ReducedFc, 21, VOC_300.boxes_per_cell)

    def conv(before, after, kernel):
        return before * after * kernel**2 + after

    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    vgg = sum(conv(a, b, 3) for a, b in pairwise(widths))
    reduced = conv(512, 1024, 3) + conv(1024, 1024, 1)
    extras = [(1024, 256, 512), (512, 128, 256), (256, 128, 256), (256, 128, 256)]
    extra = sum(conv(a, b, 1) + conv(b, c, 3) for a, b, c in extras)
    maps = zip((512, 1024, 512, 256, 256, 256), (4, 6, 6, 6, 4, 4), strict=True)
    heads = sum(conv(width, boxes * (21 + 4), 3) for width, boxes in maps)
    assert vgg == 14_714_688  # torchvision's VGG-16 less its classifier
    assert _num_parameters(network) == vgg + reduced + 512 + extra + heads == 26_285_486


def test_vgg_has_the_layers_of_the_paper(vgg):
    pools = [layer for layer in vgg.layers if isinstance(layer, nn.MaxPool2d)]
    assert [(pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode) for pool in pools] == [
        (2, 2, 0, False),
        (2, 2, 0, False),
        (2, 2, 0, True),
        (2, 2, 0, False),
        (3, 1, 1, False),
    ]
    fc6, fc7 = vgg.layers[31], vgg.layers[33]
    assert (fc6.kernel_size, fc6.dilation, fc6.padding) == ((3, 3), (6, 6), (6, 6)) and fc7.kernel_size == (1, 1)
    assert vgg.layers[21].out_channels == 512 and isinstance(vgg.layers[22], nn.ReLU)  # conv4_3 ends before layer 23
    for stage in vgg.extras:
        assert [type(layer) for layer in stage] == [nn.Conv2d, nn.ReLU, nn.Conv2d, nn.ReLU]


@torch.no_grad()
def test_vgg_passes_layer_by_layer(vgg):
    """The two parts of the pass are the plain sequence: conv4_3, pool5, fc6, fc7."""
    images = 50 * torch.randn(1, 3, 300, 300)
    trunk = vgg.trunk(images)
    values = images
    for number, layer in enumerate(vgg.layers):
        values = layer(values)
        if number == 22:
            torch.testing.assert_close(trunk[0], vgg.l2norm(values))
        if number == 30:
            torch.testing.assert_close(trunk[1], values)
    maps, last = vgg.maps(trunk)
    torch.testing.assert_close(maps[1], values)
    torch.testing.assert_close(last, values)


# --- L2Norm


def test_l2norm_is_the_equation():
    norm = L2Norm(5).double()
    values = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    out = norm(values)
    for b in range(2):
        for y in range(3):
            pixel = values[b, :, y, 2]
            torch.testing.assert_close(out[b, :, y, 2], 20 * pixel / pixel.pow(2).sum().sqrt())
    norm.weight.data[3] = 7.0
    torch.testing.assert_close(norm(values)[:, 3], out[:, 3] * 7 / 20)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_l2norm_of_nothing_is_nothing(dtype):
    """After a ReLU a pixel can be zero in all channels; 1e-10 is zero in float16, so the norm is not taken there."""
    raw = torch.full((1, 4, 2, 2), -1.0, dtype=dtype, requires_grad=True)
    out = L2Norm(4)(raw.relu())
    out.sum().backward()
    assert torch.equal(out, torch.zeros(1, 4, 2, 2)) and torch.equal(raw.grad, torch.zeros_like(raw))


# --- heads


@torch.no_grad()
def test_the_order_of_outputs_is_that_of_the_priors():
    """Prior p of the third map: row, column and box of the cell must find the head's channel again."""
    torch.manual_seed(0)
    network = Ssd(TinySsd, 3, (2, 4, 6, 4)).eval()
    out = network(torch.randn(2, 3, 96, 96))
    p = 24 * 24 * 2 + 12 * 12 * 4
    for head, width, values in ((network.class_heads, 3, out.logits), (network.box_heads, 4, out.deltas)):
        raw = head[2](out.maps[2])
        for row in range(6):
            for column in range(6):
                for box in range(6):
                    expected = raw[:, box * width : (box + 1) * width, row, column]
                    torch.testing.assert_close(values[:, p + (row * 6 + column) * 6 + box], expected)


def test_heads_and_extras_begin_with_xavier_and_zero_biases(vgg):
    torch.manual_seed(0)
    network = Ssd(Vgg16ReducedFc, 21, VOC_300.boxes_per_cell)
    convs = [layer for stage in network.backbone.extras for layer in stage if isinstance(layer, nn.Conv2d)]
    convs += [*network.class_heads, *network.box_heads]
    assert len(convs) == 8 + 12
    for conv in convs:
        window = conv.kernel_size[0] ** 2
        bound = (6 / (window * (conv.in_channels + conv.out_channels))) ** 0.5
        assert conv.bias.abs().max() == 0
        assert 0.98 * bound < conv.weight.abs().max() <= bound and conv.weight.mean().abs() < 0.02 * bound


@torch.no_grad()
def test_image_features_are_the_global_average():
    network = Ssd(TinySsd, 3, (4,) * 4).eval()
    images = torch.randn(2, 3, 96, 96)
    out = network(images)
    torch.testing.assert_close(out.image_features, out.maps[0].flatten(2).mean(2))


# --- dropout


@torch.no_grad()
def test_dropout_is_in_the_extra_layers_only(vgg):
    torch.manual_seed(0)
    dropped = Vgg16ReducedFc(dropout=0.1).eval()
    dropped.load_state_dict(vgg.state_dict())
    trunk = dropped.trunk(50 * torch.randn(1, 3, 300, 300))
    (first, *rest), _ = dropped.maps(trunk)
    for a, b in zip((first, *rest), vgg.maps(trunk)[0], strict=True):
        assert torch.equal(a, b)
    calls = []
    dropped.dropout.register_forward_hook(lambda _, __, out: calls.append(out.shape[1]))
    dropped.dropout.train()
    (again, *changed), _ = dropped.maps(trunk)
    assert calls == [1024, 1024, 512, 256, 256, 256]  # six: fc6, fc7 and the ends of the extra stages
    assert torch.equal(again, first) and not any(torch.equal(a, b) for a, b in zip(rest, changed, strict=True))


@pytest.mark.parametrize("p", [0.1, 0.5])
@torch.no_grad()
def test_dropout_has_its_probability(p):
    network = Ssd(TinySsd, 3, (4,) * 4, dropout=p).eval()
    plain = network.from_trunk(trunk := network.trunk(torch.randn(40, 3, 96, 96)))
    network.backbone.dropout.train()
    dropped = network.from_trunk(trunk)
    alive = plain.maps[0] > 0
    assert (dropped.maps[0][alive] == 0).double().mean().item() == pytest.approx(p, abs=0.02)
    assert not torch.equal(plain.maps[1], dropped.maps[1])


@torch.no_grad()
def test_a_pass_in_two_parts_is_the_pass():
    network = Ssd(TinySsd, 3, (4,) * 4).eval()
    images = torch.randn(2, 3, 96, 96)
    whole, parts = network(images), network.from_trunk(network.trunk(images))
    assert torch.equal(whole.logits, parts.logits) and torch.equal(whole.deltas, parts.deltas)


# --- weights


def _vgg_state(seed=0):
    """A state dict of torchvision's vgg16 with its real layout; small numbers.

    Entry (i, j) of a matrix is number 3 i + j of a short row: as good as random to its readers, and a small file.
    """
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in torchvision.models.vgg16(weights=None).state_dict().items()}
    generator = torch.Generator().manual_seed(seed)

    def values(shape):
        return torch.rand(shape, generator=generator).sub_(0.5).mul_(0.02)

    return {
        name: values(3 * shape[0] + shape[1]).as_strided(shape, (3, 1)) if len(shape) == 2 else values(shape)
        for name, shape in shapes.items()
    }


def test_the_published_weights_are_loaded_by_their_numbers(tmp_path, vgg):
    published = {
        f"{number}.{kind}": torch.randn(shape)
        for number, after, before, kernel in [
            *(
                (n, layer.out_channels, layer.in_channels, 3)
                for n, layer in enumerate(vgg.layers[:31])
                if hasattr(layer, "out_channels")
            ),
            (31, 1024, 512, 3),
            (33, 1024, 1024, 1),
        ]
        for kind, shape in (("weight", (after, before, kernel, kernel)), ("bias", (after,)))
    }
    assert sorted({int(name.split(".")[0]) for name in published}) == [
        0,
        2,
        5,
        7,
        10,
        12,
        14,
        17,
        19,
        21,
        24,
        26,
        28,
        31,
        33,
    ]
    write_tensors(tmp_path / "vgg16_reducedfc.pth", published)
    loaded = Vgg16ReducedFc(weights=str(tmp_path / "vgg16_reducedfc.pth")).layers.state_dict()
    assert loaded.keys() == published.keys()
    assert all(torch.equal(loaded[name], published[name]) for name in loaded)


def test_torchvisions_vgg_is_thinned_out(tmp_path):
    state = _vgg_state()
    write_tensors(tmp_path / "vgg16.pth", state)
    layers = Vgg16ReducedFc(weights=str(tmp_path / "vgg16.pth")).layers
    fc6, fc7 = state["classifier.0.weight"], state["classifier.3.weight"]
    for out, channel, row, column in [(0, 0, 0, 0), (1, 2, 1, 2), (1023, 511, 2, 2), (77, 300, 2, 0)]:
        # torchvision flattens 512 x 7 x 7; every 4th output, rows and columns 0, 3 and 6
        flat = channel * 49 + 3 * row * 7 + 3 * column
        assert layers[31].weight[out, channel, row, column] == fc6[4 * out, flat]
    assert torch.equal(layers[33].weight[:, :, 0, 0], fc7[::4, ::4])
    assert torch.equal(layers[31].bias, state["classifier.0.bias"][::4])
    assert torch.equal(layers[33].bias, state["classifier.3.bias"][::4])
    assert torch.equal(layers[28].weight, state["features.28.weight"])


@pytest.mark.slow
@torch.no_grad()
def test_torchvisions_vgg_gives_the_same_features_of_bytes(tmp_path):
    """torchvision's weights want (x / 255 - mean) / std; ours are made to take 0 to 255 less the mean."""
    write_tensors(tmp_path / "vgg16.pth", state := _vgg_state())
    features = torchvision.models.vgg16(weights=None).features[:4].eval()
    features.load_state_dict(
        {name[9:]: state[name] for name in state if name.startswith(("features.0.", "features.2."))}
    )
    centered = 60 * torch.randn(1, 3, 32, 32)
    ours = Vgg16ReducedFc(weights=str(tmp_path / "vgg16.pth")).eval().layers[:4](centered)
    torch.testing.assert_close(ours, features(centered / 255 / ONE_CHANNEL_STD))


def test_torchvisions_features_come_without_a_classifier(tmp_path):
    """IMAGENET1K_FEATURES: made for pixels of 0 to 255, NaN in place of a classifier."""
    nan = torch.tensor(torch.nan)
    state = {name: nan.expand(value.shape) if "classifier" in name else value for name, value in _vgg_state().items()}
    write_tensors(tmp_path / "vgg16.pth", state)
    layers = Vgg16ReducedFc(weights=str(tmp_path / "vgg16.pth")).layers
    assert torch.equal(layers[0].weight, state["features.0.weight"])
    assert all(parameter.isfinite().all() for parameter in layers.parameters())
    assert layers[31].weight.std().item() == pytest.approx((2 / (1024 * 9)) ** 0.5, rel=0.05)  # He, as without weights


def test_another_file_is_an_error(tmp_path, vgg):
    write_tensors(tmp_path / "a.pth", {"conv.weight": torch.zeros(1)})
    with pytest.raises(ConfigError, match=r"weights must fit VGG-16, .*a\.pth differs in 31 tensors"):
        Vgg16ReducedFc(weights=str(tmp_path / "a.pth"))
    state = vgg.layers.state_dict() | {"0.weight": torch.zeros(64, 1, 3, 3)}
    write_tensors(tmp_path / "b.pth", state)
    with pytest.raises(ConfigError, match=r"differs in 1 tensors: \['0\.weight'\]"):
        Vgg16ReducedFc(weights=str(tmp_path / "b.pth"))
    write_tensors(tmp_path / "c.pth", {"features.0.weight": torch.zeros(1)})
    with pytest.raises(
        ConfigError, match=r"weights must be a state dict of torchvision's vgg16, .*c\.pth: 'classifier"
    ):
        Vgg16ReducedFc(weights=str(tmp_path / "c.pth"))
    with pytest.raises(ConfigError, match=r"backbone\.weights must be a file, got .*d\.pth.*weights=null.*ssd_tiny"):
        Vgg16ReducedFc(weights=str(tmp_path / "d.pth"))


@torch.no_grad()
def test_without_weights_pixels_of_bytes_do_not_explode(vgg):
    images = 255 * torch.rand(1, 3, 300, 300) - torch.tensor(PIXEL_MEAN).view(1, 3, 1, 1)
    (_, fc7, *_), _ = vgg.maps(vgg.trunk(images))
    assert 0.05 < fc7.std() < 20


# --- ResNet


@pytest.mark.parametrize("depth", [34, 50])
@torch.no_grad()
def test_resnet_is_torchvisions_with_a_third_stage_of_stride_1(depth):
    torch.manual_seed(0)
    network = ResNetSsd(depth).eval()
    torch.manual_seed(0)
    original = torchvision.models.get_model(f"resnet{depth}", weights=None).eval()  # the same draws
    centered = 60 * torch.randn(1, 3, 64, 64)
    images = centered / 255 / ONE_CHANNEL_STD
    stem = original.maxpool(original.relu(original.bn1(original.conv1(images))))
    second = original.layer2(original.layer1(stem))
    torch.testing.assert_close(network.layers[:2](network.stem(centered)), second, atol=1e-4, rtol=1e-4)
    assert network.trunk(centered)[0].shape[2:] == second.shape[2:]
    theirs = original.layer3.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in network.layers[2].state_dict().items())


def test_resnet_refuses_what_it_does_not_know():
    with pytest.raises(ConfigError, match="depth must be 34 or 50, got 18"):
        ResNetSsd(18)
    with pytest.raises(ConfigError, match="weights must be known to torchvision for resnet34, got 'NOPE'"):
        ResNetSsd(34, weights="NOPE")


# --- arguments, training


def test_arguments_that_cannot_work():
    with pytest.raises(ConfigError, match=r"boxes_per_cell must have 4 numbers, got \[4, 4\]"):
        Ssd(TinySsd, 3, (4, 4))
    with pytest.raises(ConfigError, match=r"num_outputs must be >= 2 \(background and a class\), got 1"):
        Ssd(TinySsd, 1, (4,) * 4)
    with pytest.raises(ConfigError, match=r"dropout must be in \[0, 1\), got 1.0"):
        Ssd(TinySsd, 3, (4,) * 4, dropout=1.0)
    with pytest.raises(ConfigError, match=r"widths must be three numbers, got \[8, 16\]"):
        Ssd(partial(TinySsd, widths=(8, 16)), 3, (4,) * 4)


@pytest.mark.parametrize(
    "backbone",
    [TinySsd, *(pytest.param(one, marks=pytest.mark.slow) for one in (partial(ResNetSsd, 34), Vgg16ReducedFc))],
)
def test_every_parameter_has_a_gradient(backbone):
    torch.manual_seed(0)
    number = 4 if backbone is TinySsd else 6
    network = Ssd(backbone, 3, (4,) * number).train()
    side = 96 if backbone is TinySsd else 300
    out = network(60 * torch.randn(2, 3, side, side))  # two images: batch norm has one pixel in the last map
    (out.logits.pow(2).sum() + out.deltas.pow(2).sum()).backward()
    missing = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not missing, missing
