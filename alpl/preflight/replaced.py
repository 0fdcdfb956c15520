"""What the command line put in place of something else: what was there before must not live on beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from alpl.config.compose import left_out
from alpl.preflight.targets import checked_arguments, imported


def settle(config: DictConfig, overrides: Sequence[str]) -> list[str]:
    """Take out of a composed config what the command line replaced.

    Where it names another ``_target_``, the arguments that only the old one took go; those that it names itself stay,
    so that a misspelt one is still refused. All stay where the new one may take any (``**kwargs``). A group that it
    takes away (``~pseudo_labels``) is null, also where a method wrote there.

    Args:
        config: changed in place.
        overrides: of the command line, as Hydra takes them.

    Returns:
        A line for each ``_target_`` that some arguments went with.

    Raises:
        ConfigError: a new ``_target_`` cannot be imported.
    """
    told = []
    with open_dict(config):
        for name in left_out(overrides):
            if name in config:
                config[name] = None
        given = dict(_given(overrides))
        for place in [name.removesuffix("._target_") for name in given if name.endswith("._target_")]:
            node = OmegaConf.select(config, place)
            if not isinstance(node, DictConfig) or (taken := checked_arguments(imported(place, node._target_))) is None:
                continue
            names = [str(name) for name in node if not str(name).startswith("_")]
            gone = [name for name in names if name not in taken and f"{place}.{name}" not in given]
            for name in gone:
                del node[name]
            if gone:
                told.append(f"{place}: {node._target_} takes no {', '.join(gone)}; left out")
    return told


def _given(overrides: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Walk the names that the command line gives a value, and those inside of the mappings that it gives."""
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if not override.is_delete():
            yield from _leaves(override.key_or_group.replace("/", "."), override.value())


def _leaves(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    yield place, value
    for name, inner in value.items() if isinstance(value, dict) else ():
        yield from _leaves(f"{place}.{name}", inner)
