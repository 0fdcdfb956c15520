"""Names and axes of a wandb run.

``test/*``, ``cycle/*`` (counts, class balance), ``ap/*`` (average precision of a class) and ``seconds/*`` (of a stage)
have the axis ``labeled images``; ``fit/*`` has ``epoch``, which counts through all cycles. Beside them stand the table
``per_class`` of each cycle and, where asked for, ``gallery``. The summary holds the best (max) and the last of
``test/*``, and ``total seconds/*``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb

from alpl.loggers.points import EndPoint, EpochPoint, Point, TestPoint
from alpl.machine.files import read_json

X_AXIS = "labeled images"
EPOCH_AXIS = "epoch"
TEST, CYCLE, CLASS, SECONDS, FIT, TOTAL = "test/", "cycle/", "ap/", "seconds/", "fit/", "total seconds/"
CLASS_TABLE, GALLERY = "per_class", "gallery"

_MAX_BOXES = 10  # of a picture: those of highest score


def define_axes(run: Any) -> None:
    """Define the axes of a wandb run."""
    run.define_metric(X_AXIS)
    run.define_metric(EPOCH_AXIS)
    # "none": wandb would only know the best of this piece of a run that was taken up again; see summary()
    run.define_metric(f"{TEST}*", step_metric=X_AXIS, summary="none")
    for prefix in (CYCLE, CLASS, SECONDS):
        run.define_metric(f"{prefix}*", step_metric=X_AXIS)
    run.define_metric(f"{FIT}*", step_metric=EPOCH_AXIS)


def history_row(point: Point, classes: Sequence[str], pictures: int) -> dict[str, Any]:
    """Give what is logged of a point.

    Args:
        point: of the run's folder.
        classes: names of the K classes.
        pictures: of the gallery at most.
    """
    if isinstance(point, EpochPoint):
        prefix = FIT if point.member == 0 else f"{FIT}member {point.member}/"
        named = {prefix + name: value for name, value in point.values.items()}
        return {EPOCH_AXIS: point.epoch, f"{FIT}cycle": point.cycle, **named}
    if isinstance(point, TestPoint):
        return {X_AXIS: point.num_labeled, f"{CYCLE}cycle": point.cycle, **_named(point), **_per_class(point, classes)}
    row: dict[str, Any] = {f"{SECONDS}{stage}": seconds for stage, seconds in point.seconds.items()}
    if point.gallery is not None and pictures:
        row[GALLERY] = _gallery(point.gallery, pictures)
    return {X_AXIS: point.num_labeled, **row}


def summary(points: Sequence[Point]) -> dict[str, Any]:
    """Give what a history's pieces cannot know by themselves: the best of all cycles, and sums."""
    measured: dict[str, list[float]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    for point in points:
        if isinstance(point, TestPoint):
            for name, value in _named(point).items():
                measured[name].append(value)
        elif isinstance(point, EndPoint):
            for stage, value in point.seconds.items():
                seconds[f"{TOTAL}{stage}"] += value
    best = {n: {"max": max(v), "last": v[-1]} for n, v in measured.items() if n.startswith(TEST)}
    return {**best, **seconds}


def _named(point: TestPoint) -> dict[str, float]:
    """Put what has no group of its own below ``cycle/``."""
    return {name if "/" in name else CYCLE + name: value for name, value in point.values.items()}


def _per_class(point: TestPoint, classes: Sequence[str]) -> dict[str, Any]:
    if not point.per_class:
        return {}
    pairs = list(zip(classes, point.per_class, strict=True))
    scalars = {CLASS + name: value for name, value in pairs if value is not None}
    rows = [[name, value, point.num_labeled] for name, value in pairs]
    return {**scalars, CLASS_TABLE: wandb.Table(["class", "average precision", X_AXIS], rows)}


def _gallery(folder: Path, limit: int) -> list[Any]:
    about = read_json(folder / "gallery.json")
    names = dict(enumerate(about["classes"]))
    return [_picture(folder, entry, names) for entry in about["images"][:limit]]


def _picture(folder: Path, entry: Mapping[str, Any], names: dict[int, str]) -> Any:
    found = sorted(entry["detections"], key=lambda detection: -detection["score"])[:_MAX_BOXES]
    boxes = [_box(detection, entry["width"], entry["height"], names) for detection in found]
    return wandb.Image(
        str(folder / entry["file"]),
        caption=f"{entry['rank'] + 1}. {entry['name']}, utility {entry['utility']:.3g}",
        boxes={"detections": {"box_data": boxes, "class_labels": names}},
    )


def _box(detection: Mapping[str, Any], width: int, height: int, names: Mapping[int, str]) -> dict[str, Any]:
    """Give a detection as wandb wants it: edges as shares of the picture, which is smaller than the original."""
    left, top, right, bottom = detection["box"]
    return {
        "position": {"minX": left / width, "maxX": right / width, "minY": top / height, "maxY": bottom / height},
        "class_id": detection["label"],
        "box_caption": names[detection["label"]],
        "scores": {"score": detection["score"]},
    }
