"""What earlier versions of alpl called things, so that their run folders are read, and gone on with, today.

A run's key is a hash of its config. It is made of the oldest names, and without the keys that were added later as long
as they say what was done before they were there: a run that has not changed keeps its key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    "acquisition.backend": "auto",
    "callbacks.class_difficulty": {
        "_target_": "alpl.callbacks.class_difficulty.ClassDifficulty",
        "xi": 0.6,
        "base_momentum": 0.99,
        "absent": "as_written",
    },
    "data.long_tail.kept_file": None,
    "data.name": None,
    "data.pool_transform": "evaluation",
    "data.repeats": "warn",
    "data.source.repeats": "warn",
    "learner": None,
    "model.consistency.compare": "offsets",
    "model.consistency.detach_targets": True,
    "model.consistency.pairs": "foreground",
    "model.network.boxes.coordinates": "max",
    "motion": None,
    "partner": None,
    "pretrained": None,
    "speed": {
        "_target_": "alpl.machine.speed.Speed",
        "channels_last": "auto",
        "compile": "auto",
        "fused": "auto",
        "tf32": "auto",
        "backend": "inductor",
    },
}
"""Keys that were added later -> the value that does what was done without them."""

_ANNOTATED = ("alpl.data.coco.COCO", "alpl.data.coco.COCOFolder", "alpl.data.voc.VOC", "alpl.data.voc.VOCFolder")

ONLY_OF: Mapping[str, tuple[str, ...]] = {
    "acquisition.backend": ("alpl.acquisition.KCenter",),
    "data.long_tail.kept_file": ("alpl.data.long_tail.StepImbalance",),
    "data.pool_transform": ("alpl.data.datamodule.ImageDataModule",),
    "data.repeats": ("alpl.data.datamodule.ImageDataModule",),
    "data.source.repeats": _ANNOTATED,
}
"""Keys among them that not every class takes at their place -> the ``_target_`` of those that do."""

_FOLDERS = ("alpl.data.coco.COCOFolder", "alpl.data.voc.VOCFolder")

ONCE_COUNTED = ("num_workers", "cache_bytes")
HOUSEKEEPING = ("verify_images", "decoded", "fingerprint", "device_pool_bytes", *ONCE_COUNTED)
"""What of the data's config, at any depth, changes no result, and so is no part of a key; some of it once was."""

_OLD_NAMES = {new: old for old, new in MOVED.items()}


def canonical(content: Mapping[str, Any]) -> dict[str, Any]:
    """Give a run's content as the first version would have written it: what its key is made of."""
    renamed: dict[str, Any] = _renamed(content, _OLD_NAMES, "")
    _count_housekeeping(renamed.get("data"))
    return renamed


def upgraded(content: Mapping[str, Any]) -> dict[str, Any]:
    """Give the content of an earlier version's run as today's would have written it."""
    renamed: dict[str, Any] = _renamed(content, MOVED, None)
    for place, value in ADDED.items():
        *groups, name = place.split(".")
        node: Any = renamed
        for group in groups:
            node = node.get(group) if isinstance(node, dict) else None
        if isinstance(node, dict) and node.get("_target_") in ONLY_OF.get(place, (node.get("_target_"),)):
            node.setdefault(name, value)
    without_housekeeping(renamed.get("data"))
    return renamed


def without_housekeeping(data: Any, but: Sequence[str] = ()) -> None:
    """Take what changes no result out of the data's content, in place, but for some names."""
    if isinstance(data, dict):
        for name in set(HOUSEKEEPING) - set(but):
            data.pop(name, None)
        for value in data.values():
            without_housekeeping(value, but)


def name_places(data: Any) -> None:
    """Call own folders without a name by the place where they lie, as once was done, in place."""
    source = data.get("source") if isinstance(data, dict) else None
    if isinstance(source, dict) and source.get("_target_") in _FOLDERS and source.get("name", "") is None:
        source["name"] = source.get("root")


def _count_housekeeping(data: Any) -> None:
    """Put what once counted at the value that the configs had: runs that left it alone keep their keys."""
    if not isinstance(data, dict) or data.get("_target_") != "alpl.data.scenes.SceneDataModule":
        return
    source = data.get("source")
    target = source.get("_target_") if isinstance(source, dict) else None
    data.setdefault("num_workers", 0 if target == "alpl.data.digit_scenes.DigitScenes" else 4)
    if isinstance(source, dict) and target in _ANNOTATED:
        source.setdefault("cache_bytes", 0)


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
