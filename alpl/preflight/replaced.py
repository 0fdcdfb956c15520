"""What the command line put in place of something else: what was there before must not live on beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from alpl.config.compose import left_out
from alpl.preflight.targets import imported, named_arguments


def settle(config: DictConfig, overrides: Sequence[str]) -> None:
    """Take out of a composed config what the command line replaced.

    Where it names another ``_target_``, the arguments that only the old one took go; those that it names itself stay,
    so that a misspelt one is still refused. A group that it takes away (``~pseudo_labels``) is null, also where a
    method wrote there.

    Args:
        config: changed in place.
        overrides: of the command line, as Hydra takes them.

    Raises:
        ConfigError: a new ``_target_`` cannot be imported.
    """
    with open_dict(config):
        for name in left_out(overrides):
            if name in config:
                config[name] = None
        given = dict(_given(overrides))
        for place in [name.removesuffix("._target_") for name in given if name.endswith("._target_")]:
            node = OmegaConf.select(config, place)
            if isinstance(node, DictConfig) and (parameters := named_arguments(imported(place, node._target_))):
                names = [str(name) for name in node if not str(name).startswith("_")]
                for name in names:
                    if name not in parameters and f"{place}.{name}" not in given:
                        del node[name]


def _given(overrides: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Walk the names that the command line gives a value, and those inside of the mappings that it gives."""
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if not override.is_delete():
            yield from _leaves(override.key_or_group.replace("/", "."), override.value())


def _leaves(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    yield place, value
    for name, inner in value.items() if isinstance(value, dict) else ():
        yield from _leaves(f"{place}.{name}", inner)
