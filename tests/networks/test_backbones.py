import sys

import pytest
import torch
import torchvision
from torch import nn

from alpl.errors import ConfigError
from alpl.networks.backbones import cifar_resnet, timm_backbone, torchvision_backbone, without_classifier
from alpl.networks.classification import ClassificationNetwork


def _num_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


# --- ResNet for 32x32 images


def test_resnet18_for_cifar_layer_by_layer():
    network = cifar_resnet(3).eval()
    shapes = {}
    for name in ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool"):
        module = network.get_submodule(name)
        module.register_forward_hook(lambda _, __, out, name=name: shapes.update({name: tuple(out.shape[1:])}))
    features = network(torch.rand(2, 3, 32, 32))
    assert shapes == {
        "conv1": (64, 32, 32),
        "maxpool": (64, 32, 32),
        "layer1": (64, 32, 32),
        "layer2": (128, 16, 16),
        "layer3": (256, 8, 8),
        "layer4": (512, 4, 4),
        "avgpool": (512, 1, 1),
    }
    assert features.shape == (2, 512) and network.num_features == 512
    stem = network.conv1
    assert (stem.kernel_size, stem.stride, stem.padding, stem.bias) == ((3, 3), (1, 1), (1, 1), None)
    assert [len(network.get_submodule(f"layer{n}")) for n in (1, 2, 3, 4)] == [2, 2, 2, 2]
    assert isinstance(network.fc, nn.Identity)


def test_resnet18_for_cifar_has_the_known_number_of_parameters():
    # 11,173,962: the ResNet-18 that the CIFAR literature trains, with its 10-class head
    assert _num_parameters(ClassificationNetwork(cifar_resnet, num_classes=10, in_channels=3)) == 11_173_962
    assert _num_parameters(cifar_resnet(3)) == 11_173_962 - (512 * 10 + 10)
    assert _num_parameters(cifar_resnet(3)) - _num_parameters(cifar_resnet(1)) == 2 * 64 * 9


def test_resnet18_for_cifar_is_torchvisions_but_for_the_stem():
    network, original = cifar_resnet(3), torchvision.models.resnet18(weights=None)
    ours = {name: value.shape for name, value in network.state_dict().items() if not name.startswith("conv1")}
    theirs = {name: value.shape for name, value in original.state_dict().items() if not name.startswith("conv1")}
    assert {name: shape for name, shape in theirs.items() if not name.startswith("fc.")} == ours


def test_the_stem_has_he_initialization():
    weight = cifar_resnet(3).conv1.weight
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)  # 1728 weights: 1.7 % of deviation


@pytest.mark.parametrize(("depth", "num_features"), [(18, 512), (34, 512), (50, 2048)])
def test_the_width_is_that_of_the_depth(depth, num_features):
    network = cifar_resnet(1, depth).eval()
    assert network(torch.rand(1, 1, 16, 16)).shape == (1, num_features) and network.num_features == num_features


def test_another_depth_is_an_error():
    with pytest.raises(ConfigError, match="depth must be one of 18, 34, 50, 101, 152, got 20"):
        cifar_resnet(3, depth=20)


# --- torchvision


def test_resnet101_gives_2048_features():
    network = torchvision_backbone(3, "resnet101").eval()
    assert network(torch.rand(1, 3, 64, 64)).shape == (1, 2048) and network.num_features == 2048
    assert _num_parameters(network) == 44_549_160 - (2048 * 1000 + 1000)  # torchvision's count, less the head


# one of each way in which torchvision ends a network: fc, classifier, classifier list, head, heads
@pytest.mark.parametrize(
    ("name", "num_features"),
    [
        ("shufflenet_v2_x0_5", 1024),
        ("densenet121", 1024),
        ("vgg11", 4096),
        ("mobilenet_v2", 1280),
        ("mobilenet_v3_small", 1024),
        ("convnext_tiny", 768),
        ("swin_t", 768),
        ("vit_b_16", 768),
    ],
)
def test_the_width_is_what_comes_out(name, num_features):
    with torch.device("meta"):  # shapes only: nothing is computed
        network = torchvision_backbone(3, name).eval()
        assert network(torch.zeros(2, 3, 224, 224)).shape == (2, num_features)
    assert network.num_features == num_features


@pytest.mark.parametrize("name", ["resnet17", "fasterrcnn_resnet50_fpn", "lraspp_mobilenet_v3_large", ""])
def test_what_is_no_classification_network_is_an_error(name):
    with pytest.raises(ConfigError, match=f"name must be a classification network of torchvision, got {name!r}"):
        torchvision_backbone(3, name)


@pytest.mark.parametrize("weights", ["NOPE", "IMAGENET1K_V2"])  # resnet18 has no second version
def test_unknown_weights_are_an_error(weights):
    with pytest.raises(ConfigError, match=f"weights must be known to torchvision for resnet18, got {weights!r}"):
        torchvision_backbone(3, "resnet18", weights)


def test_torchvision_takes_color_images_only():
    with pytest.raises(ConfigError, match="torchvision's resnet18 takes images of 3 channels, got 1; timm_backbone"):
        torchvision_backbone(1, "resnet18")


def test_a_network_without_a_linear_layer_has_no_classifier():
    with pytest.raises(ConfigError, match="the backbone must end in a linear layer, SqueezeNet has none"):
        torchvision_backbone(3, "squeezenet1_1")


def test_without_classifier_removes_the_last_linear_layer():
    network = without_classifier(nn.Sequential(nn.Linear(4, 7), nn.Sequential(nn.ReLU(), nn.Linear(7, 2))))
    assert network(torch.rand(3, 4)).shape == (3, 7) and network.num_features == 7
    assert isinstance(network[1][1], nn.Identity) and isinstance(network[0], nn.Linear)


# --- timm


@pytest.mark.parametrize(("name", "in_channels"), [("resnet10t", 1), ("mobilenetv3_small_050", 3)])
def test_timm_networks_say_the_width_of_what_comes_out(name, in_channels):
    network = timm_backbone(in_channels, name).eval()
    (_, num_features) = network(torch.rand(2, in_channels, 64, 64)).shape
    assert network.num_features == num_features == {"resnet10t": 512, "mobilenetv3_small_050": 1024}[name]
    # the head fits: for mobilenetv3_small_050 timm's own num_features is 288, what enters the head's own layers
    whole = ClassificationNetwork(lambda in_channels: network, num_classes=5, in_channels=in_channels)
    assert whole(torch.rand(2, in_channels, 64, 64))[0].shape == (2, 5)


def test_timm_takes_further_options():
    network = timm_backbone(3, "resnet10t", drop_rate=0.25)
    assert network.drop_rate == 0.25


@pytest.mark.parametrize("name", ["resnet17", "resnet18.no_such_tag", "nowhere://resnet18"])
def test_a_name_that_timm_does_not_know_is_an_error(name):
    with pytest.raises(ConfigError, match=f"name must be known to timm, got '{name}': "):
        timm_backbone(3, name)


def test_without_timm_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)  # importing it then fails as if it were not installed
    with pytest.raises(ConfigError, match=r"needs the extra timm: pip install 'timm>="):
        timm_backbone(3, "resnet10t")


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_are_gone(name):
    backbone = torchvision_backbone(3, name).train()
    assert backbone(torch.zeros(2, 3, 96, 96)).shape == (2, backbone.num_features)
