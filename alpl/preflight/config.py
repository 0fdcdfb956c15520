"""Names and arguments of a config, checked before anything is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from alpl.config.keys import TOP_LEVEL, did_you_mean
from alpl.errors import ConfigError
from alpl.preflight.part_types import check_parts
from alpl.preflight.partners import check_partners
from alpl.preflight.targets import checked_arguments, imported


def check_config(config: DictConfig) -> None:
    """Check names before anything is made: top-level keys, ``_target_`` paths and their arguments.

    Hydra refuses a misspelt key on the command line, but takes one in a file, or behind a "+", until the object is
    made, which for an optimizer is after the data is read.

    Raises:
        ConfigError: the first name that nothing reads.
    """
    for name in config:
        if name not in TOP_LEVEL:
            raise ConfigError(f"unknown config key {name!r}{did_you_mean(str(name), TOP_LEVEL)}")
    for name in sorted(OmegaConf.missing_keys(config)):  # it is a set: the first is another in each process
        raise ConfigError(f"{name} must be given, the config leaves it open")
    check_values(config)
    check_tasks(config)
    check_arguments(OmegaConf.to_container(config, resolve=True))


def check_values(config: DictConfig) -> None:
    """Check the numbers and flags of the top level.

    Raises:
        ConfigError: the first that is refused.
    """
    for name in ("seed", "num_members"):
        if isinstance(config[name], bool) or not isinstance(config[name], int):
            hint = f"; several make a sweep: -m {name}=0,1 or -m '{name}=range(0,3)'"
            raise ConfigError(f"{name} must be an int, got {config[name]!r}{hint}")
    for name in ("warm_start", "informativeness", "keep_models", "keep_predictions", "share_first_cycle"):
        if not isinstance(config[name], bool):
            raise ConfigError(f"{name} must be true or false, got {config[name]!r}")
    if config.num_threads is not None and not (isinstance(config.num_threads, int) and config.num_threads > 0):
        raise ConfigError(f"num_threads must be null or an int > 0, got {config.num_threads!r}")


def check_arguments(node: Any, place: str = "") -> None:
    """Check the ``_target_`` paths of a part of a config, and their arguments; see :func:`check_config`.

    Args:
        node: the resolved part.
        place: where it is.

    Raises:
        ConfigError: the first name that nothing reads.
    """
    for at, part in _targets(node, place):
        _check_arguments(at, part)


def check_tasks(config: DictConfig) -> None:
    """Make sure that data and model are of one task.

    Raises:
        ConfigError: they are not, or one of their classes cannot be imported.
    """
    data, model = (config.get(group) for group in ("data", "model"))
    if data and model and "_target_" in data and "_target_" in model:
        check_partners(imported("data", data._target_), imported("model", model._target_))


def _targets(node: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield place, node
        for name, value in node.items():
            yield from _targets(value, f"{place}.{name}" if place else str(name))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _targets(value, f"{place}[{number}]")


def _check_arguments(place: str, node: Mapping[str, Any]) -> None:
    path = node["_target_"]
    target = imported(place, path)
    check_parts(place, node, target)
    parameters = checked_arguments(target)
    if parameters is None:
        return
    for name in node:
        if name not in parameters and not str(name).startswith("_"):
            raise ConfigError(
                f"{place}.{name}: {path} takes no such argument{did_you_mean(str(name), list(parameters))}"
            )
