"""Ours beside the paper's numbers where its columns are values of a setting (NORIS, Table 3)."""

from __future__ import annotations

from collections.abc import Sequence

from alpl.report.judged.comparison import Cell, Comparison, Line
from alpl.report.read.aggregate import Point, Variant, is_named, primary_metric
from alpl.report.read.cycles import at_cycle
from alpl.report.read.paper import PaperTable
from alpl.report.read.printed import Printed
from alpl.report.read.rows import absence, paper_rows, reference_row
from alpl.report.read.split import setting_of


def compare_by_setting(table: PaperTable, printed: Printed, variants: Sequence[Variant]) -> Comparison:
    """Give the paper's rows with a column a value: each cell is of the row's variant with that value.

    Of several variants with the value the one counts whose setting is otherwise the experiment's.
    """
    assert table.by_setting is not None, "the caller asks for tables by a setting only"
    key, columns = table.by_setting.key, table.by_setting.values
    data = table.data or next((variant.data for variant in variants), "")
    members = [Variant(variant.row, variant.runs) for variant in variants if variant.data == data]
    metric = primary_metric(members, table.metric)
    fits = None in (metric, table.metric) or is_named(str(metric), str(table.metric))

    def cell(paper_row: str, rows: Sequence[Variant], status: str, value: str) -> Cell:
        mean, std = printed.get((paper_row, columns[value]), ("", ""))
        with_value = [one for one in rows if setting_of(one.runs[0].config, key) == value]
        shown = f"{(metric or table.metric or '').removeprefix('test/')}, {key.rpartition('.')[2]} {value}"
        if not with_value:
            return Cell(data, columns[value], shown, mean, std, None, table.scale, status)
        variant = min(with_value, key=lambda one: one.changes != ())
        point, told = last_point(at_cycle(variant, table.cycle), metric)
        planned = len(variant.planned_seeds)
        return Cell(data, columns[value], shown, mean, std, point, table.scale, told, planned, fits, variant.changes)

    lines = tuple(
        Line(
            row.paper_row, row.label, tuple(cell(row.paper_row, row.variants, absence(table, row), v) for v in columns)
        )
        for row in paper_rows(table, printed, members)
    )
    return Comparison(lines, data=data, reference=reference_row(table, printed, table.reference))


def last_point(variant: Variant, metric: str | None) -> tuple[Point | None, str]:
    """Give the point of the last cycle: an earlier one has fewer labels than the paper's number."""
    curve = variant.curve(metric) if metric else ()
    if curve and curve[-1].cycle == variant.num_cycles - 1:
        return curve[-1], "run"
    if all(run.status == "failed" for run in variant.runs):
        return None, "failed"
    done = {result.cycle for run in variant.runs for result in run.cycles}
    if variant.num_cycles - 1 in done:
        return None, "not measured"
    return None, f"unfinished: {len(done)} of {variant.num_cycles} cycles"
