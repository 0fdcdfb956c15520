from functools import partial

import pytest
import torch
import torchvision

from alpl.errors import ConfigError
from alpl.machine.files import write_tensors
from alpl.networks.backbones import cifar_resnet, timm_backbone, torchvision_backbone
from alpl.networks.classification import ClassificationNetwork
from alpl.networks.initial_weights import load_network

SMALL = "shufflenet_v2_x0_5"


def _network(backbone):
    torch.manual_seed(2)
    return ClassificationNetwork(backbone, num_classes=7, in_channels=3)


def _plain(name, seed=1):
    torch.manual_seed(seed)
    return torchvision.models.get_model(name, weights=None).eval()


FORMS = ("whole", "backbone", "prefixed", "network", "module", "old")


@pytest.mark.parametrize(
    ("name", "form"), [*((SMALL, form) for form in FORMS), ("resnet18", "whole"), ("mobilenet_v3_small", "whole")]
)
def test_a_plain_networks_state_is_loaded(tmp_path, name, form):
    source = _plain(name)
    state = dict(source.state_dict())
    last = {"mobilenet_v3_small": "classifier.3."}.get(name, "fc.")
    without = {key: value for key, value in state.items() if not key.startswith(last)}
    head = {"head.weight": torch.ones(7, source.get_submodule(last[:-1]).in_features), "head.bias": torch.ones(7)}
    prefixed = {f"backbone.{key}": value for key, value in without.items()}
    forms = {
        "whole": state,
        "backbone": without,
        "prefixed": prefixed,
        "network": prefixed | head,
        "module": {f"network.{key}": value for key, value in (prefixed | head).items()},
        "old": {key: value for key, value in state.items() if "num_batches_tracked" not in key},
    }
    write_tensors(tmp_path / "w.pt", forms[form])
    network = _network(partial(torchvision_backbone, name=name)).eval()
    fresh = network.head.weight.clone()
    load_network(network, tmp_path / "w.pt")
    loaded = network.backbone.state_dict()
    assert loaded.keys() == without.keys()
    assert all(torch.equal(value, without[key]) for key, value in loaded.items())
    expected = head["head.weight"] if form in ("network", "module") else fresh
    assert torch.equal(network.head.weight, expected)


def test_features_are_those_that_the_plain_network_classifies(tmp_path):
    source = _plain(SMALL)
    write_tensors(tmp_path / "w.pt", source.state_dict())
    network = _network(partial(torchvision_backbone, name=SMALL)).eval()
    load_network(network, tmp_path / "w.pt")
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(source.fc(network(images)[1]), source(images))


def test_auxiliary_heads_are_left_out():
    backbone = torchvision_backbone(3, "googlenet")
    assert backbone.cut_off == ("fc", "aux1", "aux2")


@pytest.mark.parametrize("name", ["resnet10t", "convnext_atto"])  # classifiers "fc" and "head.fc"
def test_timms_classifier_is_left_out(tmp_path, name):
    timm = pytest.importorskip("timm")
    source = timm.create_model(name, pretrained=False)
    write_tensors(tmp_path / "w.pt", source.state_dict())
    network = _network(partial(timm_backbone, name=name))
    load_network(network, tmp_path / "w.pt")
    state = source.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in network.backbone.state_dict().items())


def test_the_first_tensors_that_differ_are_named(tmp_path):
    write_tensors(tmp_path / "w.pt", _plain("resnet18").state_dict())
    with pytest.raises(
        ConfigError, match=r"1 tensors: \['backbone.conv1.weight is \[64, 3, 7, 7\], must be \[64, 3, 3"
    ):
        load_network(_network(cifar_resnet), tmp_path / "w.pt")
    state = dict(_plain(SMALL).state_dict())
    state["extra.weight"] = state.pop("conv1.0.weight")
    write_tensors(tmp_path / "w.pt", state)
    told = r"2 tensors: \['backbone.conv1.0.weight is missing', 'backbone.extra.weight is not known'\]"
    with pytest.raises(ConfigError, match=told):
        load_network(_network(partial(torchvision_backbone, name=SMALL)), tmp_path / "w.pt")


def test_what_is_no_tensor_is_refused(tmp_path):
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}, "epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(ConfigError, match=r"must hold tensors alone, .*w.pt holds also \['epoch', 'state_dict'\]"):
        load_network(_network(partial(torchvision_backbone, name=SMALL)), tmp_path / "w.pt")
