"""Weights that a network starts from, out of files that name their tensors in one way or another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from alpl.errors import ConfigError
from alpl.machine.files import read_tensors
from alpl.networks.classification import ClassificationNetwork

_COUNTER = ".num_batches_tracked"


def load_network(network: ClassificationNetwork, path: Path) -> None:
    """Load a state dict into a network.

    The file may hold the state of a whole module (names that begin with ``network.``, beside a loss prediction module,
    which is left out), of the network (``backbone.``, ``head.``), or of the backbone alone, as torchvision and timm
    name its tensors. The classifier that was cut off the backbone is left out, and so is a head for another number of
    classes; a missing head stays as it is, as do missing counters of batch norm, which old files lack.

    Raises:
        ConfigError: the file holds something else than tensors, or names or shapes differ elsewhere.
    """
    own = network.state_dict()
    state = _as_named(_tensors(path), own)
    cut = tuple(f"backbone.{name}." for name in network.cut_off)
    state = {name: value for name, value in state.items() if name in own or not name.startswith(cut)}
    head = {name for name in own if name.startswith("head.")}
    for name in head & state.keys():
        if state[name].shape != own[name].shape:
            del state[name]
    wrong = _differences(own, state, may_lack=head | {name for name in own if name.endswith(_COUNTER)})
    if wrong:
        raise ConfigError(f"model.weights must fit the network, {path} differs in {len(wrong)} tensors: {wrong[:3]}")
    network.load_state_dict(state, strict=False)


def _tensors(path: Path) -> dict[str, Tensor]:
    held: dict[str, Any] = read_tensors(path)
    other = sorted(str(name) for name, value in held.items() if not isinstance(value, Tensor))
    if other:
        raise ConfigError(f"model.weights must hold tensors alone, {path} holds also {other[:3]}")
    return {name: value for name, value in held.items() if not name.startswith("loss_prediction.")}


def _as_named(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors by the network's own names: of all readings the one that shares most names with it."""
    readings = (
        dict(tensors),
        {name.removeprefix("network."): value for name, value in tensors.items()},
        {f"backbone.{name}": value for name, value in tensors.items()},
    )
    return max(readings, key=lambda reading: len(own.keys() & reading.keys()))


def _differences(own: Mapping[str, Tensor], state: Mapping[str, Tensor], may_lack: set[str]) -> list[str]:
    """Say in the order of names what is missing, not known, or of another shape."""
    said = dict.fromkeys(own.keys() - state.keys() - may_lack, "is missing")
    said |= dict.fromkeys(state.keys() - own.keys(), "is not known")
    for name in own.keys() & state.keys():
        if own[name].shape != state[name].shape:
            said[name] = f"is {list(state[name].shape)}, must be {list(own[name].shape)}"
    return [f"{name} {said[name]}" for name in sorted(said)]
