"""The paper's learning curves, placed on our axis of labeled images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from alpl.report.judged.comparison import Comparison, Line
from alpl.report.read.tables import WideTable, scale_of

PaperCurves: TypeAlias = Mapping[str, Sequence[tuple[float, float]]]
"""Our label -> (labeled images, the paper's number in the unit of our figures), ascending."""

_SCHEDULE = "schedule."


def paper_curves(table: WideTable, comparisons: Sequence[Comparison]) -> PaperCurves:
    """Give the curves that may stand beside ours.

    A cycle's numbers stand where our runs had as many labeled images as they had after it. Left out are numbers of
    other data, and rows whose schedule the command line changed: their cycles are not the paper's. A row of the paper
    that several of ours stand for has its curve at the first of them.
    """
    if table.metric is None:
        return {}
    points = [point for variant in table.variants for point in variant.curve(table.metric)]
    labeled = {point.cycle: point.num_labeled for point in points}
    curves: dict[str, list[tuple[float, float]]] = {}
    drawn: set[str] = set()
    for one in comparisons:
        if not one.by_cycle or one.remark or one.data != table.data:
            continue
        for line in one.lines:
            if line.label and line.paper_row not in drawn and not _has_other_schedule(line):
                found = [
                    (labeled[cycle], float(cell.paper_mean) / cell.scale * scale_of(table.metric))
                    for cycle, cell in enumerate(line.cells)
                    if cell.paper_mean and cycle in labeled
                ]
                if found:
                    curves[line.label] = found
                    drawn.add(line.paper_row)
    return curves


def _has_other_schedule(line: Line) -> bool:
    return any(change.startswith(_SCHEDULE) for cell in line.cells for change in cell.changes or ())
