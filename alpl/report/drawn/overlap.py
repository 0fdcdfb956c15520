"""How much of their queries two rows have in common, and how much two random draws would.

The form is that of Table 3 of Choi et al., Active Learning for Deep Object Detection via Probabilistic Modeling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alpl.errors import DataError
from alpl.report.drawn.style import house_style, png, wrapped
from alpl.report.read.aggregate import Variant, mean_std
from alpl.report.read.selections import Selections, read_selections
from alpl.report.read.tables import csv_text

LETTERS = 36  # of a name, a line


@final
@dataclass(frozen=True)
class Overlap:
    """Two rows of one data set, up to one cycle.

    Args:
        cycle: the last query that counts; 0 is the first query alone, where both rows chose from the same images.
        share: common images among those that the row with fewer chose, in [0, 1]; mean over the seeds.
        std: sample standard deviation; None for a single seed.
        chance: the same for two random draws of these sizes.
        num_seeds: seeds of which both rows began with the same initial set.
    """

    cycle: int
    share: float
    std: float | None
    chance: float
    num_seeds: int


@final
@dataclass(frozen=True, eq=False)
class OverlapTable:
    """One data set.

    Args:
        data: the data set's name.
        labels: the rows that have an overlap with another, in the order of the table.
        pairs: two labels, in that order -> their overlaps by cycle, ascending.
    """

    data: str
    labels: tuple[str, ...]
    pairs: Mapping[tuple[str, str], tuple[Overlap, ...]]

    @property
    def last_cycle(self) -> int:
        """The last cycle that all pairs have."""
        return min(overlaps[-1].cycle for overlaps in self.pairs.values())

    def only(self, labels: Sequence[str]) -> OverlapTable:
        """Give the pairs of these labels."""
        pairs = {pair: found for pair, found in self.pairs.items() if set(pair) <= set(labels)}
        return OverlapTable(self.data, tuple(label for label in self.labels if label in labels), pairs)

    def at(self, label: str, other: str, cycle: int) -> Overlap | None:
        """Look a pair up in either order."""
        found = self.pairs.get((label, other)) or self.pairs.get((other, label)) or ()
        return next((one for one in found if one.cycle == cycle), None)


def overlap_tables(variants: Sequence[Variant], notes: list[str]) -> list[OverlapTable]:
    """Give a table for each data set in which two rows queried with the same seed and initial set.

    Args:
        variants: of all data sets.
        notes: runs whose files are broken are named here (appended to).
    """
    tables = []
    for data in dict.fromkeys(variant.data for variant in variants):
        chosen = {variant.label: _chosen(variant, notes) for variant in variants if variant.data == data}
        pairs = {(a, b): _overlaps(chosen[a], chosen[b]) for a, b in combinations(chosen, 2)}
        pairs = {pair: overlaps for pair, overlaps in pairs.items() if overlaps}
        labels = tuple(label for label in chosen if any(label in pair for pair in pairs))
        if labels:
            tables.append(OverlapTable(data, labels, pairs))
    return tables


def overlap(first: frozenset[int], second: frozenset[int]) -> float:
    """Share of common images among the smaller of two sets; neither is empty.

    >>> overlap(frozenset({1, 2, 3, 4}), frozenset({4, 5}))
    0.5
    """
    return len(first & second) / min(len(first), len(second))


def chance_overlap(num_first: int, num_second: int, num_unlabeled: int) -> float:
    """Give the expected :func:`overlap` of random draws without replacement.

    Of a first draw, a share of ``num_second / num_unlabeled`` is in the second (hypergeometric mean), so that
    ``num_first * num_second / num_unlabeled`` images are common.

    >>> chance_overlap(10, 20, 100)
    0.2
    """
    return max(num_first, num_second) / num_unlabeled


def overlap_csv(tables: Sequence[OverlapTable]) -> str:
    """Write all pairs and cycles: data,row,other,cycle,overlap,std,chance,seeds; shares in [0, 1]."""
    lines = (
        [table.data, *pair, one.cycle, f"{one.share:.6f}", "" if one.std is None else f"{one.std:.6f}",
         f"{one.chance:.6f}", one.num_seeds]
        for table in tables
        for pair, overlaps in table.pairs.items()
        for one in overlaps
    )  # fmt: skip
    return csv_text(["data", "row", "other", "cycle", "overlap", "std", "chance", "seeds"], lines)


def plot_overlaps(table: OverlapTable) -> bytes:
    """Draw the first query of all pairs, and where there are more, all queries up to the last common cycle.

    Returns:
        The PNG file.
    """
    cycles, number = sorted({0, table.last_cycle}), len(table.labels)
    with house_style():
        side = 0.62 * number + 0.085 * min(LETTERS, max(len(label) for label in table.labels))
        figure = Figure(figsize=(max(4.2, side) * len(cycles), 1.1 + side), layout="constrained")
        for axes, cycle in zip(figure.subplots(1, len(cycles), squeeze=False)[0], cycles, strict=True):
            _map(axes, table, cycle)
        return png(figure)


def _map(axes: Axes, table: OverlapTable, cycle: int) -> None:
    number = len(table.labels)
    shares = np.full((number, number), np.nan)
    for (line, label), (column, other) in ((a, b) for a in enumerate(table.labels) for b in enumerate(table.labels)):
        one = table.at(label, other, cycle)
        if one is not None:
            shares[line, column] = 100 * one.share
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for place in range(number):  # a row with itself
        axes.text(place, place, "-", ha="center", va="center", color="#999999")
    for (line, column), value in np.ndenumerate(shares):
        if not np.isnan(value):
            color = "white" if value > 60 else "black"
            axes.text(
                column, line, f"{value:.{0 if value >= 10 else 1}f}", ha="center", va="center", fontsize=10, color=color
            )
    names = [wrapped(label, LETTERS) for label in table.labels]
    axes.set_xticks(range(number), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(number), names)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    what = "first query" if cycle == 0 else f"queries of cycles 0 to {cycle}"
    axes.set_title(f"{what} (%)\nby chance: {_chances(table, cycle)}", fontsize=11, loc="left")


def _chances(table: OverlapTable, cycle: int) -> str:
    """Name what chance gives; rows with other budgets have another."""
    found = [one.chance for overlaps in table.pairs.values() for one in overlaps if one.cycle == cycle]
    low, high = f"{100 * min(found):.1f}", f"{100 * max(found):.1f}"
    return low if low == high else f"{low} to {high}"


def _chosen(variant: Variant, notes: list[str]) -> dict[int, Selections]:
    """Give seed -> what the run chose, of the runs that have a query."""
    found = {}
    for run in variant.runs:
        try:
            selections = read_selections(run)
        except DataError as error:
            notes.append(f"{run.folder.name} is left out of the overlaps: {error}")
            continue
        if selections is not None:
            found[run.seed] = selections
    return found


def _overlaps(first: Mapping[int, Selections], second: Mapping[int, Selections]) -> tuple[Overlap, ...]:
    pairs = [(first[seed], second[seed]) for seed in sorted(first.keys() & second.keys())]
    pairs = [(a, b) for a, b in pairs if _began_alike(a, b)]
    found = []
    for cycle in range(max((min(len(a.queries), len(b.queries)) for a, b in pairs), default=0)):
        there = [(a.joined[cycle], b.joined[cycle], a.num_unlabeled) for a, b in pairs if _came(a, b, cycle)]
        share, std = mean_std([overlap(a, b) for a, b, _ in there])
        chance, _ = mean_std([chance_overlap(len(a), len(b), unlabeled) for a, b, unlabeled in there])
        found.append(Overlap(cycle, share, std, chance, len(there)))
    return tuple(found)


def _began_alike(a: Selections, b: Selections) -> bool:
    return (a.num_images, a.initial, a.excluded) == (b.num_images, b.initial, b.excluded)


def _came(a: Selections, b: Selections, cycle: int) -> bool:
    return cycle < min(len(a.queries), len(b.queries))
