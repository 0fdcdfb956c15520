"""Average precision class by class: what each row reaches and gains over a reference (Elezi et al., Fig. 3 and 6).

Axes: K classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from alpl.errors import DataError
from alpl.report.read.aggregate import Variant
from alpl.report.read.tables import csv_text
from alpl.runs.results import RunResult

MOST_CLASSES = 20  # with more, a figure shows the best and the worst three of the reference, as the paper does
NUM_EXTREMES = 3
DEFAULT_REFERENCE = "random"


@final
@dataclass(frozen=True, eq=False)
class ClassPoint:
    """The classes of one variant after one cycle, over its seeds.

    Args:
        mean: ``Float[K]``; NaN for a class without objects.
        std: ``Float[K]`` sample standard deviation; NaN for a single seed.
        num_seeds: the seeds that finished this cycle.
    """

    mean: np.ndarray
    std: np.ndarray
    num_seeds: int


@final
@dataclass(frozen=True, eq=False)
class ClassTable:
    """The classes of one data set.

    Args:
        data: the data set's name.
        classes: K names.
        lines: label of a variant -> cycle -> its classes, ascending.
        reference: the label that gains are told against.
        compared: its classes, where it is none of the lines.
        most: with more classes than this, figures show the reference's best three and worst three.
    """

    data: str
    classes: tuple[str, ...]
    lines: dict[str, dict[int, ClassPoint]]
    reference: str
    compared: Mapping[int, ClassPoint] | None = None
    most: int = MOST_CLASSES

    @property
    def level(self) -> Mapping[int, ClassPoint]:
        """The reference's classes by cycle, also where its line is not shown."""
        return self.lines[self.reference] if self.compared is None else self.compared

    def only(self, labels: Sequence[str]) -> ClassTable:
        """Give the lines of these labels in their order, told against the same reference."""
        lines = {label: self.lines[label] for label in dict.fromkeys(labels) if label in self.lines}
        return replace(self, lines=lines, compared=self.level)

    def gain(self, label: str, cycle: int) -> np.ndarray | None:
        """``Float[K]``: the mean less the reference's at the same cycle; None where either did not come so far."""
        ours, theirs = self.lines[label].get(cycle), self.level.get(cycle)
        return None if ours is None or theirs is None else ours.mean - theirs.mean

    @property
    def gain_cycles(self) -> list[int]:
        """The cycles that the reference and another row finished, ascending."""
        found = {cycle for label, cycles in self.lines.items() if label != self.reference for cycle in cycles}
        return sorted(found & self.level.keys())

    @property
    def shown(self) -> list[int]:
        """The classes of the figures: all, or of more than ``most`` the reference's best three and worst three."""
        if len(self.classes) <= self.most:
            return list(range(len(self.classes)))
        values = self.level[max(self.level)].mean
        order = [place for place in np.argsort(-values, kind="stable").tolist() if not np.isnan(values[place])]
        return list(dict.fromkeys(order[:NUM_EXTREMES] + order[-NUM_EXTREMES:]))


def class_tables(variants: Sequence[Variant], reference: str | None, notes: list[str]) -> list[ClassTable]:
    """Give a table for each data set whose runs tell their classes.

    Args:
        variants: of all data sets.
        reference: the row that gains are told against; ``random``, or the first one, where it is None or was not run.
        notes: what cannot be read is named here (appended to).
    """
    tables = []
    for data in dict.fromkeys(variant.data for variant in variants):
        members = [variant for variant in variants if variant.data == data]
        measured = {variant.label: _measured(variant, notes) for variant in members}
        told = [variant for variant in members if measured[variant.label]]
        sizes = {len(values) for cycles in measured.values() for seeds in cycles.values() for values in seeds}
        if len(sizes) > 1:
            notes.append(f"{data}: classes are not shown, as runs have different numbers of them: {sorted(sizes)}")
        elif told:
            lines = {
                variant.label: {cycle: _over_seeds(seeds) for cycle, seeds in measured[variant.label].items()}
                for variant in told
            }
            names = _names([run for variant in told for run in variant.runs], sizes.pop())
            tables.append(ClassTable(data, names, lines, reference_label(told, reference)))
    return tables


def classes_csv(tables: Sequence[ClassTable]) -> str:
    """Every class of every cycle as measured: data,row,cycle,class,mean,std,seeds,gain (over the reference)."""
    rows: list[list[object]] = []
    for table in tables:
        for label, points in table.lines.items():
            for cycle, point in points.items():
                gain = table.gain(label, cycle)
                for place, name in enumerate(table.classes):
                    values = [point.mean[place], point.std[place], None if gain is None else gain[place]]
                    mean, std, gained = ("" if v is None or np.isnan(v) else f"{v:.8g}" for v in values)
                    rows.append([table.data, label, cycle, name, mean, std, point.num_seeds, gained])
    return csv_text(["data", "row", "cycle", "class", "mean", "std", "seeds", "gain"], rows)


def _measured(variant: Variant, notes: list[str]) -> dict[int, list[tuple[float, ...]]]:
    """Give cycle -> K values of each seed that told them, ascending."""
    measured: dict[int, list[tuple[float, ...]]] = {}
    for run in variant.runs:
        for result in run.cycles:
            try:
                values = run.per_class(result.cycle)
            except DataError as error:
                notes.append(f"{run.folder.name}: the classes of cycle {result.cycle} are left out: {error}")
                continue
            if values:
                numbers = tuple(float("nan") if value is None else value for value in values)
                measured.setdefault(result.cycle, []).append(numbers)
    return dict(sorted(measured.items()))


def _over_seeds(values: Sequence[tuple[float, ...]]) -> ClassPoint:
    stacked = np.array(values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean over no seeds is NaN, which is what it should be
        return ClassPoint(np.nanmean(stacked, 0), np.nanstd(stacked, 0, ddof=1), len(values))


def _names(runs: Sequence[RunResult], number: int) -> tuple[str, ...]:
    told = next((run.classes for run in runs if len(run.classes) == number), ())
    return told or tuple(f"class {label}" for label in range(number))


def reference_label(variants: Sequence[Variant], wanted: str | None) -> str:
    """Give the label that gains are told against: of the wanted row, of ``random``, or the first one."""
    labels = {variant.row: variant.label for variant in reversed(variants)}
    for row in (wanted, DEFAULT_REFERENCE):
        if row in labels:
            return labels[row]
    return variants[0].label
