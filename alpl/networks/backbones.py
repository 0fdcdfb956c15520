"""Backbones from torchvision and timm, their classifier removed, and the CIFAR form of ResNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torchvision
from torch import nn
from torchvision.models.resnet import ResNet

from alpl.errors import ConfigError
from alpl.machine.extras import installing


def cifar_resnet(in_channels: int, depth: int = 18) -> nn.Module:
    """ResNet for 32x32 images: a 3x3 stem of stride 1 and no max-pool (He et al. 2016, as used on CIFAR).

    Thesis ch. 3 and 4 (facts 1.2): stages of 64-128-256-512, global average pool, F = 512 for depth 18. The weights
    keep torchvision's initialization (He, fan-out).

    Raises:
        ConfigError: ``depth`` is not one of torchvision's.
    """
    if depth not in (18, 34, 50, 101, 152):
        raise ConfigError(f"depth must be one of 18, 34, 50, 101, 152, got {depth}")
    network = torchvision.models.get_model(f"resnet{depth}", weights=None)
    network.conv1 = nn.Conv2d(in_channels, 64, 3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.maxpool = nn.Identity()
    return without_classifier(network)


def torchvision_backbone(in_channels: int, name: str, weights: str | None = None) -> nn.Module:
    """Any classification network of torchvision by name, its last linear layer removed.

    Args:
        in_channels: must be 3; torchvision's stems take nothing else.
        name: as ``torchvision.models.get_model`` knows it, e.g. "resnet101".
        weights: a weights enum by name, e.g. "IMAGENET1K_V2" (fetched by torchvision where they are not cached), or
            null for none.

    Raises:
        ConfigError: unknown name or weights, or ``in_channels`` is not 3.
    """
    _require_rgb(in_channels, name)
    # without this, a detector's name would fetch the weights of its backbone before anything is said
    if name not in torchvision.models.list_models(module=torchvision.models):
        raise ConfigError(f"name must be a classification network of torchvision, got {name!r}")
    try:
        network = torchvision.models.get_model(name, weights=weights)
    except (ValueError, KeyError) as error:
        raise ConfigError(f"weights must be known to torchvision for {name}, got {weights!r}") from error
    auxiliaries = sorted({"aux1", "aux2", "AuxLogits"} & dict(network.named_children()).keys())
    for auxiliary in auxiliaries:
        setattr(network, auxiliary, None)  # googlenet and inception_v3: heads for training that we do not train
        network.aux_logits = False
    return without_classifier(network, auxiliaries)


def timm_backbone(in_channels: int, name: str, pretrained: bool = False, **options: Any) -> nn.Module:
    """Any network of timm by name, without classifier (extra ``timm``).

    Args:
        in_channels: channels of an image; timm adapts the stem.
        name: as ``timm.create_model`` knows it.
        pretrained: fetch timm's weights.
        options: further arguments of ``timm.create_model``.

    Raises:
        ConfigError: timm is not installed, or does not know the name.
    """
    try:
        import timm
    except ImportError as error:
        raise ConfigError(f"timm_backbone needs the extra timm: {installing('timm')}") from error
    try:
        network: nn.Module = timm.create_model(
            name, pretrained=pretrained, num_classes=0, in_chans=in_channels, **options
        )
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"name must be known to timm, got {name!r}: {error}") from error
    described: dict[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    named = described.get("classifier") or ()  # one, or several: of a token that distills, too
    network.cut_off = (named,) if isinstance(named, str) else tuple(named)  # type: ignore[assignment]
    network.num_features = network.head_hidden_size  # what comes out; num_features is what enters the head's own layers
    return network


def without_classifier(network: nn.Module, also_cut: Sequence[str] = ()) -> nn.Module:
    """Replace the last linear layer by the identity, and say the width of what then comes out (``num_features``).

    And which layer that was (``cut_off``), beside others that are gone already (``also_cut``). Of a ResNet (and its
    kin) also which four ``stages`` give its maps, see :class:`alpl.networks.classification.Backbone`.

    Raises:
        ConfigError: the network has no linear layer.
    """
    linear = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ConfigError(f"the backbone must end in a linear layer, {type(network).__name__} has none")
    name, last = linear[-1]
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, nn.Identity())
    network.num_features = last.in_features  # type: ignore[assignment]
    network.cut_off = (name, *also_cut)  # type: ignore[assignment]
    if isinstance(network, ResNet):
        names = ("layer1", "layer2", "layer3", "layer4")
        network.stages = {name: _out_channels(network.get_submodule(name)) for name in names}
    return network


def _out_channels(stage: nn.Module) -> int:
    """Give the channels of the map that a ResNet's stage ends with: of the last convolution in it."""
    return [module.out_channels for module in stage.modules() if isinstance(module, nn.Conv2d)][-1]


def _require_rgb(in_channels: int, name: str) -> None:
    if in_channels != 3:
        raise ConfigError(
            f"torchvision's {name} takes images of 3 channels, got {in_channels}; timm_backbone takes any"
        )
