"""A run's folder as a sequence of points, in the order in which they came to be.

The sequence only grows, and a run that was killed and taken up again gives the same one, so a place in it names a
point for good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import TypeAlias, final

from alpl.machine.files import read_csv, read_object, reading
from alpl.runs.results import PER_CLASS
from alpl.runs.run_folder import CycleFiles, RunFolder


@final
@dataclass(frozen=True)
class EpochPoint:
    """An epoch of a fit.

    Args:
        cycle: the cycle.
        member: of the ensemble; 0 without one.
        epoch: counts through all cycles of the run.
        values: what the module logged, and ``lr``.
    """

    cycle: int
    member: int
    epoch: int
    values: Mapping[str, float]


@final
@dataclass(frozen=True)
class TestPoint:
    """A cycle's test.

    Args:
        cycle: the cycle.
        num_labeled: images that were labeled.
        values: measured values and counts by name.
        per_class: average precision of each class, None for a class without objects; empty for a classifier.
    """

    __test__ = False  # no test class, whatever pytest makes of the name

    cycle: int
    num_labeled: int
    values: Mapping[str, float]
    per_class: Sequence[float | None]


@final
@dataclass(frozen=True)
class EndPoint:
    """A cycle's end.

    Args:
        cycle: the cycle.
        num_labeled: images that were labeled in it.
        seconds: by stage.
        gallery: where pictures of the queried images lie, or None.
    """

    cycle: int
    num_labeled: int
    seconds: Mapping[str, float]
    gallery: Path | None


Point: TypeAlias = EpochPoint | TestPoint | EndPoint


@final
class RunPoints:
    """Reads the points of a run that is at work; cycles that have ended are read once.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = RunFolder(folder)
        self._ended: list[list[Point]] = []

    def read(self) -> list[Point]:
        """Give all points so far."""
        while (latest := self._read_cycle(len(self._ended))) and isinstance(latest[-1], EndPoint):
            self._ended.append(latest)
        return [*chain(*self._ended), *latest]

    def _read_cycle(self, cycle: int) -> list[Point]:
        files = self._folder.cycle(cycle)
        points: list[Point] = list(_epochs(files, cycle, self._epochs_before()))
        if not files.metrics.exists():
            return points
        points.append(test := _test(files, cycle))
        if self._folder.is_finished or self._folder.cycle(cycle + 1).pool.exists():
            gallery = files.gallery if files.gallery.exists() else None
            points.append(EndPoint(cycle, test.num_labeled, self._seconds(cycle), gallery))
        return points

    def _epochs_before(self) -> int:
        """Count the epochs of the cycles that have ended."""
        return sum(isinstance(point, EpochPoint) and point.member == 0 for point in chain(*self._ended))

    def _seconds(self, cycle: int) -> dict[str, float]:
        return {entry["stage"]: entry["seconds"] for entry in self._folder.journal if entry.get("cycle") == cycle}


def _epochs(files: CycleFiles, cycle: int, before: int) -> Iterator[EpochPoint]:
    for member in count():
        if not files.epochs(member).exists():
            return
        path, what = files.epochs(member), "a row of numbers an epoch"
        for row in read_csv(path, what, "epoch"):
            with reading(path, what):
                values = {name: float(text) for name, text in row.items() if text}
                epoch = before + int(values.pop("epoch"))
            yield EpochPoint(cycle, member, epoch, values)


def _test(files: CycleFiles, cycle: int) -> TestPoint:
    with reading(files.metrics, "what a test measured"):
        results = read_object(files.metrics)
        values = {name: value for name, value in results.items() if isinstance(value, (int, float))}
        num_labeled = values.pop("num_labeled")
        return TestPoint(cycle, int(num_labeled), values, tuple(results.get(PER_CLASS, ())))
