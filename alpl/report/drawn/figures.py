"""All figures of a table, from its variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from alpl.errors import DataError
from alpl.report.drawn.class_figures import plot_class_gains, plot_classes
from alpl.report.drawn.curves import learning_curves
from alpl.report.drawn.informativeness import has_histogram, plot_histograms, plot_top_accuracy
from alpl.report.drawn.pseudo_labels import plot_pseudo_labels, pseudo_points
from alpl.report.drawn.style import line_styles, slug
from alpl.report.judged.comparison import Comparison
from alpl.report.judged.paper_curves import paper_curves
from alpl.report.read.aggregate import Variant
from alpl.report.read.classes import ClassTable
from alpl.report.read.tables import WideTable
from alpl.runs.results import Informativeness

MAX_PANELS = 3


@final
@dataclass(frozen=True)
class FigureFile:
    """One rendered figure.

    Args:
        name: the file's name.
        data: the data set that it belongs to.
        kind: "curves", "pseudo_labels", "classes", "class_gains", "informativeness" (all rows) or "histogram" (one
            row).
        alt: what it shows, for those who do not see it.
        png: the file's bytes.
    """

    name: str
    data: str
    kind: str
    alt: str
    png: bytes


def draw_all(
    tables: Sequence[WideTable], comparisons: Sequence[Comparison], classes: Sequence[ClassTable], notes: list[str]
) -> list[FigureFile]:
    """Draw what the runs allow.

    Args:
        tables: one a data set.
        comparisons: ours beside the paper's values (not its gains), for the paper's curves.
        classes: one for each data set whose runs tell their classes.
        notes: recordings that cannot be read are named here (appended to).
    """
    variants = [variant for table in tables for variant in table.variants]
    # all data is a dashed level and comes last, so that it takes no color from the others
    styles = line_styles(variant.label for variant in sorted(variants, key=lambda one: one.is_all_data))
    drawn: list[FigureFile] = []

    def add(parts: tuple[str, ...], data: str, kind: str, alt: str, png: bytes) -> None:
        name, taken = slug(*parts), {figure.name for figure in drawn}
        number = next(n for n in range(1, len(taken) + 2) if _numbered(name, n) not in taken)
        drawn.append(FigureFile(_numbered(name, number), data, kind, alt, png))

    for table in tables:
        data = table.data
        if table.metric is not None:
            alt = f"Learning curves on {data}: {table.metric} against the number of labeled images"
            png = learning_curves(table, styles, paper_curves(table, comparisons))
            add(("curves", data), data, "curves", alt, png)
        if pseudo_points(table):
            alt = f"Share of pseudo-labels on {data} over the cycles, and what they gain"
            add(("pseudo_labels", data), data, "pseudo_labels", alt, plot_pseudo_labels(table, styles))
        for one in (one for one in classes if one.data == data):
            alt = f"Average precision of each class of {data}, first and last cycle of each row"
            add(("classes", data), data, "classes", alt, plot_classes(one))
            if one.gain_cycles:
                alt = f"Gain of each row over {one.reference} in each class of {data}, cycle by cycle"
                add(("class_gains", data), data, "class_gains", alt, plot_class_gains(one))
        recorded = {variant.label: _recorded(variant, notes) for variant in table.variants}
        first = {label: [p for p in cycles.get(0, []) if len(p.chosen)] for label, cycles in recorded.items()}
        if first := {label: parts for label, parts in first.items() if parts}:
            alt = f"Accuracy on the k most informative unlabeled images of {data} against k, one curve a row"
            png = plot_top_accuracy(data, first, styles)
            add(("informativeness", data), data, "informativeness", alt, png)
        for label, cycles in recorded.items():
            ranked = {cycle: parts for cycle, parts in cycles.items() if has_histogram(parts)}
            if ranked := {cycle: ranked[cycle] for cycle in _spread(list(ranked))}:
                alt = f"Unlabeled images of {data} by utility of {label}, and the accuracy on them"
                png = plot_histograms(f"{label} on {data}", ranked)
                add(("informativeness", data, label), data, "histogram", alt, png)
    return drawn


def _recorded(variant: Variant, notes: list[str]) -> dict[int, list[Informativeness]]:
    found: dict[int, list[Informativeness]] = {}
    for run in variant.runs:
        for cycle in run.informative_cycles:
            try:
                found.setdefault(cycle, []).append(run.informativeness(cycle))
            except DataError as error:
                notes.append(f"{run.folder.name}: the recording of cycle {cycle} is left out: {error}")
    return {cycle: found[cycle] for cycle in sorted(found) if found[cycle]}


def _spread(cycles: Sequence[int]) -> list[int]:
    """Choose the first, the middle and the last of more than three cycles."""
    if len(cycles) <= MAX_PANELS:
        return list(cycles)
    return [cycles[0], cycles[len(cycles) // 2], cycles[-1]]


def _numbered(name: str, number: int) -> str:
    return f"{name}.png" if number == 1 else f"{name}-{number}.png"
