"""What the queries of two rows have in common, beside what the paper prints of it (AL-MDN, Table 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from alpl.report.drawn.overlap import OverlapTable
from alpl.report.judged.beside import other_data
from alpl.report.judged.comparison import Cell, Comparison, Line
from alpl.report.read.aggregate import Point, Variant
from alpl.report.read.paper import PaperTable, PrintedOverlap
from alpl.report.read.printed import Printed, read_printed
from alpl.report.read.rows import PaperRow, absence, paper_rows

ITSELF = "itself"


def compare_overlaps(
    table: PaperTable, overlaps: Sequence[OverlapTable], variants: Sequence[Variant], experiments: Path
) -> list[Comparison]:
    """Give a table for each of our data sets: the paper's rows against its columns, which are rows, too.

    There are no verdicts: the paper prints neither deviations nor the number of its seeds, and no row is a reference.

    Raises:
        DataError: the paper's CSV is missing or does not fit.
    """
    if table.paper is None or table.overlap is None:
        return []
    wanted = set(table.overlap.columns.values())
    printed = {key: value for key, value in read_printed(experiments / table.paper).items() if key[1] in wanted}
    found = []
    for data in dict.fromkeys(variant.data for variant in variants):
        members = [variant for variant in variants if variant.data == data]
        measured = next((one for one in overlaps if one.data == data), None)
        found.append(_compare(table, table.overlap, printed, measured, members, data))
    return found


def _compare(
    table: PaperTable,
    about: PrintedOverlap,
    printed: Printed,
    measured: OverlapTable | None,
    variants: Sequence[Variant],
    data: str,
) -> Comparison:
    rows = paper_rows(table, printed, variants)
    labels = {variant.row: variant.label for variant in reversed(variants)}
    remark = "" if data == table.data else other_data(table.data or "other data", data)

    def cell(row: PaperRow, other: str, column: str) -> Cell:
        mean, std = printed.get((row.paper_row, column), ("", ""))
        variant, point = row.on(data), _point(measured, row.label, labels.get(other), about.cycle)
        status = "run" if point else _status(table, row, labels.get(other))
        runs = (0, ()) if variant is None else (len(variant.planned_seeds), variant.changes)
        return Cell(data, column, other, mean, std, point, table.scale, status, runs[0], not remark, runs[1])

    columns = about.columns.items()
    lines = tuple(Line(row.paper_row, row.label, tuple(cell(row, *column) for column in columns)) for row in rows)
    what = "first query" if about.cycle == 0 else f"queries of cycles 0 to {about.cycle}"
    title = f"common images of the {what}{_chance(measured, about.cycle, table.scale)}"
    return Comparison(lines, title=title, data=data, is_main=False, is_judged=False, remark=remark)


def _point(measured: OverlapTable | None, label: str, other: str | None, cycle: int) -> Point | None:
    one = measured.at(label, other, cycle) if measured and other else None
    return None if one is None else Point(cycle, math.nan, one.share, one.std, one.num_seeds)


def _status(table: PaperTable, row: PaperRow, other: str | None) -> str:
    if not row.label:
        return absence(table, row)
    if row.label == other:
        return ITSELF
    return "not run" if other is None else "no common seed and initial set"


def _chance(measured: OverlapTable | None, cycle: int, scale: float) -> str:
    """Name what two random draws would have in common."""
    pairs = measured.pairs.values() if measured else ()
    found = [scale * one.chance for overlaps in pairs for one in overlaps if one.cycle == cycle]
    if not found:
        return ""
    low, high = f"{min(found):.1f}", f"{max(found):.1f}"
    return f" (by chance: {low if low == high else f'{low} to {high}'})"
