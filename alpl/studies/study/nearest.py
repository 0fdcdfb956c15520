"""Which unlabeled objects are near to those that a query was chosen for (NORIS Fig. 5).

Axes: I objects of all unlabeled images that count.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from alpl.acquisition.base import Query
from alpl.acquisition.object_ranking import check_score_thresh
from alpl.boxes.iou_matching import iou
from alpl.data.scenes import SceneDataModule
from alpl.errors import ConfigError, DataError
from alpl.machine.files import read_object, whole_file
from alpl.pool import Pool
from alpl.predictions import Need, Predictions
from alpl.runs.run_folder import CycleFiles, RunFolder
from alpl.studies.base import AbstractStudy, Answers, Look
from alpl.studies.nearest_objects import nearest_objects
from alpl.studies.pictures import Shown, plot_rows


class Found(NamedTuple):
    """A query's object, or one near to it."""

    query: int
    """Which of the queried images, from 0."""
    rank: int
    """0 for the query's own, 1 for the nearest."""
    place: int
    """In the predictions."""
    distance: float
    """To the query's own."""


@final
@dataclass(frozen=True)
class Nearest(AbstractStudy):
    """For the first queried images of a cycle: the object that decided, and the nearest objects of unlabeled images.

    The object that decided is that of the largest value in the acquisition, as the run's gallery tells it; where it
    does not (acquisitions that value no object, ``gallery=0``) the one of the highest score. Distances are Euclidean.

    Args:
        cycle: whose query and model, from 0; None for the last query.
        queries: images of it, the first ones with an object that counts.
        neighbors: objects that are shown for each, of as many images.
        score_thresh: only detections with a higher score count.

    Raises:
        ConfigError: a value is out of range.
    """

    cycle: int | None = None
    queries: int = 4
    neighbors: int = 6
    score_thresh: float = 0.05

    needs = Need.BOXES | Need.FEATURES

    def __post_init__(self) -> None:
        for name, least in (("cycle", 0), ("queries", 1), ("neighbors", 1)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ConfigError(f"{name} must be an int >= {least}, got {value!r}")
        check_score_thresh(self.score_thresh)

    def look(self, folder: RunFolder, data: SceneDataModule) -> Look:
        """See the base class: the images that were unlabeled when the query was chosen."""
        cycles = [int(entry["cycle"]) for entry in folder.journal if entry["stage"] == "select"]
        cycle = max(cycles, default=-1) if self.cycle is None else self.cycle
        if cycle not in cycles:
            raise ConfigError(f"cycle must be one with a query, of {cycles}, got {self.cycle}")
        return Look(cycle, "train", Pool.load(folder.cycle(cycle).pool).unlabeled)

    def write(self, answers: Answers, folder: Path) -> str:
        """Write ``nearest.csv`` and ``nearest.png``; see the base class."""
        seen = answers.predictions
        assert seen.scores is not None and seen.features is not None, "they were asked for"
        kept = (seen.scores > self.score_thresh).nonzero().flatten()
        features, row = seen.features[kept], seen.row[kept]
        found: list[list[Found]] = []
        for place in _deciding(answers.files, seen, kept):
            one = nearest_objects(features, row, place, self.neighbors)
            pairs = zip(one.objects.tolist(), one.distance.tolist(), strict=True)
            near = [Found(len(found), rank, int(kept[other]), far) for rank, (other, far) in enumerate(pairs, 1)]
            found.append([Found(len(found), 0, int(kept[place]), 0.0), *near])
            if len(found) == self.queries:
                break
        if not found:
            raise ConfigError(f"score_thresh must leave an object on a queried image, got {self.score_thresh}")
        _write_csv(folder / "nearest.csv", answers, found)
        with whole_file(folder / "nearest.png", "wb") as stream:
            stream.write(plot_rows([[_crop(answers, one) for one in line] for line in found]))
        return f"{len(found)} queried objects of cycle {answers.look.cycle} and {self.neighbors} near to each"


def _deciding(files: CycleFiles, seen: Predictions, kept: Tensor) -> Iterator[int]:
    """Give the object that decided of each queried image that has one, positions in ``kept``."""
    assert seen.boxes is not None and seen.scores is not None, "they were asked for"
    told, images = _told(files), seen.index[seen.row[kept]]
    for image in Query.load(files.query).index.tolist():
        own = (images == image).nonzero().flatten()
        if len(own):
            boxes = seen.boxes[kept[own]]
            alike = iou(boxes, torch.tensor(told[image])) if image in told else seen.scores[kept[own]]
            yield int(own[alike.nan_to_num(0.0).argmax()])


def _told(files: CycleFiles) -> dict[int, list[float]]:
    """Give the box that decided of each image of the run's gallery."""
    path = files.gallery / "gallery.json"
    if not path.exists():
        return {}
    try:
        images: Sequence[dict[str, Any]] = read_object(path)["images"]
        pairs = ((one["index"], each) for one in images for each in one["detections"])
        return {int(index): [float(edge) for edge in each["box"]] for index, each in pairs if each["decided"]}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} must tell the boxes that decided: {type(error).__name__}: {error}") from error


def _crop(answers: Answers, one: Found) -> Shown:
    """Cut an object out of its image."""
    seen, data = answers.predictions, answers.data
    assert seen.boxes is not None and seen.labels is not None, "they were asked for"
    image = data.splits.train[int(seen.index[seen.row[one.place]])]
    height, width = image.shape[1:]
    x1, y1, x2, y2 = seen.boxes[one.place].tolist()
    left, top = min(max(int(x1), 0), width - 1), min(max(int(y1), 0), height - 1)
    part = image[:, top : max(int(y2), top + 1), left : max(int(x2), left + 1)]
    title = "queried" if one.rank == 0 else f"{one.distance:.3g}"
    pixels = np.ascontiguousarray(part.permute(1, 2, 0).numpy())
    return Shown(pixels, title, data.classes[int(seen.labels[one.place])], 0 if one.rank == 0 else 1)


def _write_csv(path: Path, answers: Answers, found: Sequence[Sequence[Found]]) -> None:
    seen, names = answers.predictions, answers.data.classes
    assert seen.boxes is not None and seen.labels is not None and seen.scores is not None, "they were asked for"
    with whole_file(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["query", "rank", "index", "class", "score", "distance", "x1", "y1", "x2", "y2"])
        for one in (each for line in found for each in line):
            image, box = int(seen.index[seen.row[one.place]]), seen.boxes[one.place].tolist()
            about = (names[int(seen.labels[one.place])], f"{float(seen.scores[one.place]):.6f}", f"{one.distance:.6g}")
            writer.writerow([one.query, one.rank, image, *about, *(f"{edge:.2f}" for edge in box)])
