"""What an experiment file plans: its sweep, and the setting that a run of it has unless the command line changes it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig

from alpl.config.compose import content_of

_NO_SETTING = frozenset({"num_threads", "informativeness", "data.eval_batch_size", "trainer.accelerator"})
"""Content that changes no result but in its last bits, and in what is drawn: of dropout passes, which masks are drawn
depends on `data.eval_batch_size`. A run with another value is still the experiment's."""


def planned_sweep() -> dict[str, list[str]]:
    """Give what the experiment of the run at work sweeps over: ``{"method": ["random", ...], "seed": ["0", ...]}``.

    It is the experiment file's own sweep, whatever part of it the command line asked for, and whatever a scale makes
    of it. Empty outside Hydra and without an experiment.
    """
    experiment = _experiment()
    if experiment is None:
        return {}
    return {name: list(values) for name, values in _swept(_place(), experiment).items()}


@cache  # the rows of a sweep ask for the same
def _swept(place: _Place, experiment: str) -> dict[str, list[str]]:
    own = hydra.compose(place.config_name, overrides=[f"experiment={experiment}"], return_hydra_config=True)
    return values_of(own.hydra.sweeper.get("params") or {})


def values_of(parameters: Mapping[str, Any]) -> dict[str, list[str]]:
    """List the values that the parameters of Hydra's basic sweeper stand for.

    >>> values_of({"method": "random,entropy", "seed": "range(0,3)", "data": "digits"})
    {'method': ['random', 'entropy'], 'seed': ['0', '1', '2'], 'data': ['digits']}
    """
    found = {}
    for override in OverridesParser.create().parse_overrides([f"{name}={text}" for name, text in parameters.items()]):
        is_sweep = override.is_sweep_override()
        values = override.sweep_string_iterator() if is_sweep else [override.get_value_element_as_str()]
        found[override.get_key_element()] = [str(value) for value in values]
    return found


def changes(config: DictConfig) -> list[str]:
    """Name what the command line changed of the experiment's setting, as ``trainer.max_steps=10 (120000)``.

    Compared are the contents of the run's config and of the experiment composed with nothing but what its own sweep
    varies (row, seed, data). Paths, loggers and the like are no part of a setting.

    Args:
        config: the config of the run at work.

    Returns:
        Dotted names with the value and, in parentheses, the experiment's; empty without an experiment.
    """
    experiment = _experiment()
    if experiment is None:
        return []
    swept = planned_sweep()
    parser = OverridesParser.create()
    given = [(parser.parse_override(text), text) for text in HydraConfig.get().overrides.task]
    kept = [(override, text) for override, text in given if override.get_key_element() in swept]
    name = _place().config_name
    try:
        own = hydra.compose(name, overrides=[f"experiment={experiment}", *(text for _, text in kept)])
    except HydraException:  # a schedule, say, that goes with the data set is not there for one that is not planned
        planned = [text for override, text in kept if override.get_value_string() in swept[override.get_key_element()]]
        own = hydra.compose(name, overrides=[f"experiment={experiment}", *planned])
    ours, theirs = leaves(content_of(config)), leaves(content_of(own))
    return [
        f"{name}={ours.get(name, 'absent')} ({theirs.get(name, 'absent')})"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name) and name not in _NO_SETTING
    ]


class _Place(NamedTuple):
    """What, with overrides, decides what a composition gives, as long as no file is edited."""

    config_name: str
    search_path: tuple[str, ...]


def _place() -> _Place:
    hydra_config = HydraConfig.get()
    return _Place(
        str(hydra_config.job.config_name), tuple(str(source.path) for source in hydra_config.runtime.config_sources)
    )


def _experiment() -> str | None:
    if not HydraConfig.initialized():
        return None
    choice = HydraConfig.get().runtime.choices.get("experiment")
    return None if choice is None else str(choice)


def leaves(node: Any, place: str = "") -> dict[str, Any]:
    """Give what a nested config says, by its dotted name."""
    if isinstance(node, dict) and node:
        inner = (leaves(value, f"{place}.{name}" if place else str(name)) for name, value in node.items())
        return {name: value for part in inner for name, value in part.items()}
    return {place: node}
