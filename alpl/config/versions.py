"""What earlier versions of alpl called things, so that their run folders are read, and gone on with, today.

A run's key is a hash of its config. It is made of the oldest names, and without the keys that were added later as long
as they say what was done before they were there: a run that has not changed keeps its key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOVED: Mapping[str, str] = {
    "alpl.networks.priors.PriorLayout": "alpl.boxes.priors.PriorLayout",
    "alpl.oracle.BenchmarkOracle": "alpl.labeling.oracle.BenchmarkOracle",
    "alpl.pseudo_labels.ConfidentObjects": "alpl.acquisition.ConfidentObjects",
    "alpl.pseudo_labels.TopPerClass": "alpl.acquisition.TopPerClass",
    "alpl.recorded.RecordedInitial": "alpl.acquisition.recorded.RecordedInitial",
    "alpl.schedule.BalancedInitial": "alpl.labeling.schedule.BalancedInitial",
    "alpl.schedule.IndexFileInitial": "alpl.labeling.schedule.IndexFileInitial",
    "alpl.schedule.RandomInitial": "alpl.labeling.schedule.RandomInitial",
    "alpl.schedule.ReservedInitial": "alpl.labeling.schedule.ReservedInitial",
    "alpl.schedule.Schedule": "alpl.labeling.schedule.Schedule",
}
"""Old ``_target_`` -> today's."""

ADDED: Mapping[str, Any] = {
    "learner": None,
    "partner": None,
}
"""Keys that were added later -> the value that does what was done without them."""

_OLD_NAMES = {new: old for old, new in MOVED.items()}


def canonical(content: Mapping[str, Any]) -> dict[str, Any]:
    """Give a run's content as the first version would have written it: what its key is made of."""
    renamed: dict[str, Any] = _renamed(content, _OLD_NAMES, "")
    return renamed


def upgraded(content: Mapping[str, Any]) -> dict[str, Any]:
    """Give the content of an earlier version's run as today's would have written it."""
    renamed: dict[str, Any] = _renamed(content, MOVED, None)
    for place, value in ADDED.items():
        *groups, name = place.split(".")
        node: Any = renamed
        for group in groups:
            node = node.get(group) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.setdefault(name, value)
    return renamed


def _renamed(node: Any, names: Mapping[str, str], place: str | None) -> Any:
    """Put other names in place of ``_target_``; with a place, leave out what was added later and says nothing new."""
    if isinstance(node, Mapping):
        found = {}
        for name, value in node.items():
            here = None if place is None else f"{place}.{name}".lstrip(".")
            if here is not None and here in ADDED and value == ADDED[here]:
                continue
            is_target = name == "_target_" and isinstance(value, str)
            found[name] = names.get(value, value) if is_target else _renamed(value, names, here)
        return found
    if isinstance(node, list):
        return [_renamed(value, names, None if place is None else f"{place}[]") for value in node]
    return node
