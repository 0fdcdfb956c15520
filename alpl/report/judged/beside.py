"""Ours beside the paper's printed numbers: a column a data set and metric, or a column a cycle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from alpl.errors import DataError
from alpl.report.judged.by_setting import compare_by_setting, last_point
from alpl.report.judged.comparison import Cell, Comparison, Line
from alpl.report.judged.gains import gains
from alpl.report.read.aggregate import Point, Variant, is_named, primary_metric
from alpl.report.read.cycles import at_cycle
from alpl.report.read.paper import PaperTable
from alpl.report.read.printed import Printed, named_by_cycle, read_printed
from alpl.report.read.rows import PaperRow, absence, paper_rows, reference_row
from alpl.report.read.split import part_of

_CYCLE = "cycle_"


class Column(NamedTuple):
    """One column of a table by data: the data set, the paper's name or "", our metric, whether it is the table's."""

    data: str
    name: str
    metric: str
    is_main: bool


def compare(table: PaperTable, variants: Sequence[Variant], experiments: Path) -> list[Comparison]:
    """Set ours beside the paper's: one table, or one for each of our data sets where its columns are cycles or metrics.

    In a table by cycle each further metric has tables of its own.

    Raises:
        DataError: the paper's CSV is missing or does not fit, or a table by cycle does not say which data it is about.
    """
    assert table.paper is not None, "the caller asks for tables with a paper only"
    printed = read_printed(experiments / table.paper)
    variants = gains(variants, table.gain_over) if table.gain_over else variants
    if table.by_cycle:
        if table.data is None:
            raise DataError("report.data must name the data set that the paper's numbers are about, got none")
        further = [(_of_metric(table, name), False) for name in table.metrics]
        parts = [(table, True), *further]
        return [one for part, is_main in parts for one in tables_by_cycle(part, printed, variants, is_main=is_main)]
    if table.by_setting is not None:
        return [compare_by_setting(table, printed, variants)]
    if table.overlap is not None and not table.columns and not table.metrics:
        return []  # all that the paper prints is told elsewhere
    columns = _columns(table, variants)
    if not table.metrics:
        return [table_by_data(table, printed, variants, columns)]
    names = dict.fromkeys(column.data for column in columns)
    return [table_by_data(table, printed, variants, [c for c in columns if c.data == data], data) for data in names]


def _of_metric(table: PaperTable, name: str) -> PaperTable:
    """Give the part of a table by cycle that is of a further metric."""
    columns = table.metrics[name]
    if not all(cycle.isdecimal() for cycle in columns):
        raise DataError(f"report.metrics.{name} must map cycles to columns, as columns is cycles, got {dict(columns)}")
    return replace(table, metric=name, cycles={int(cycle): column for cycle, column in columns.items()})


def tables_by_cycle(
    table: PaperTable, printed: Printed, variants: Sequence[Variant], *, is_main: bool
) -> list[Comparison]:
    """Give a table by cycle for each of our data sets, the paper's first."""
    by_cycle = named_by_cycle(table, printed)
    names = sorted(dict.fromkeys(variant.data for variant in variants), key=lambda data: data != table.data)
    found = []
    for data in names:
        part, numbers = part_of(table, by_cycle, data)
        members = [variant for variant in variants if variant.data == data]
        found.append(_by_cycle(part, numbers, data, members, is_main))
    return found


def _by_cycle(table: PaperTable, printed: Printed, data: str, variants: Sequence[Variant], is_main: bool) -> Comparison:
    last = max([_cycle_of(column) for _, column in printed] + [variant.num_cycles - 1 for variant in variants])
    metric = primary_metric(variants, table.metric) if is_main else _measured(variants, table.metric)
    remark = _remark(table, data, metric)
    shown = _short(metric or table.metric)

    def cell(row: PaperRow, cycle: int) -> Cell:
        column = f"{_CYCLE}{cycle}"
        mean, std = printed.get((row.paper_row, column), ("", ""))
        variant = row.on(data)
        if variant is None:
            return Cell(data, column, shown, mean, std, None, table.scale, absence(table, row))
        point, status = _at(variant, metric, cycle)
        num_planned, changes = len(variant.planned_seeds), variant.changes
        return Cell(data, column, shown, mean, std, point, table.scale, status, num_planned, not remark, changes)

    rows = paper_rows(table, printed, variants)
    lines = tuple(Line(r.paper_row, r.label, tuple(cell(r, cycle) for cycle in range(last + 1))) for r in rows)
    reference = reference_row(table, printed, table.reference)
    return Comparison(lines, True, "" if is_main else shown, data, is_main, remark=remark, reference=reference)


def table_by_data(
    table: PaperTable, printed: Printed, variants: Sequence[Variant], columns: Sequence[Column], data: str = ""
) -> Comparison:
    """Give one table whose columns are data sets and metrics; ``data`` where it is of one data set alone."""

    def cell(row: PaperRow, column: Column) -> Cell:
        data, name, shown, is_main = column
        mean, std = printed.get((row.paper_row, name), ("", ""))
        variant = row.on(data)
        if variant is None:
            return Cell(data, name, shown, mean, std, None, table.scale, absence(table, row))
        metric = primary_metric([variant], table.metric) if is_main else _measured([variant], shown)
        point, status = last_point(at_cycle(variant, table.cycle), metric)
        fits = not is_main or None in (metric, table.metric) or is_named(str(metric), str(table.metric))
        num_planned, changes = len(variant.planned_seeds), variant.changes
        return Cell(data, name, shown, mean, std, point, table.scale, status, num_planned, fits, changes)

    lines = tuple(
        Line(row.paper_row, row.label, tuple(cell(row, column) for column in columns))
        for row in paper_rows(table, printed, variants)
    )
    return Comparison(lines, data=data, reference=reference_row(table, printed, table.reference))


def _columns(table: PaperTable, variants: Sequence[Variant]) -> list[Column]:
    """Give the columns data set by data set, the paper's first; each with the further metrics printed or measured."""
    printed = dict.fromkeys(data for columns in table.metrics.values() for data in columns)
    found = []
    for data in dict.fromkeys([*table.columns, *printed, *(variant.data for variant in variants)]):
        members = [variant for variant in variants if variant.data == data]
        metric = primary_metric(members, table.metric) or table.metric or primary_metric(variants)
        if data in table.columns or data not in printed:
            found.append(Column(data, table.columns.get(data, ""), _short(metric), True))
        for name, columns in table.metrics.items():
            if data in columns or _measured(members, name) is not None:
                found.append(Column(data, columns.get(data, ""), _short(name), False))
    return found


def _measured(variants: Sequence[Variant], named: str | None) -> str | None:
    """Give a metric's full name where any of the variants measured it."""
    names = (name for variant in variants for name in variant.metrics)
    return next((name for name in names if named is not None and is_named(name, named)), None)


def _short(metric: str | None) -> str:
    return (metric or "").removeprefix("test/")


def _remark(table: PaperTable, data: str, metric: str | None) -> str:
    if data != table.data:
        return other_data(table.data or "other data", data)
    if metric is not None and table.metric is not None and not is_named(metric, table.metric):
        return f"The paper's numbers are {table.metric}, which no run measured; {metric} stands beside them."
    return ""


def other_data(theirs: str, ours: str) -> str:
    """Say that numbers are of different data."""
    return (
        f"The paper's numbers are about {theirs}, these runs about {ours}: data, and maybe model and schedule, "
        "are not the table's. The numbers show that all parts work together, and no difference is told."
    )


def _at(variant: Variant, metric: str | None, cycle: int) -> tuple[Point | None, str]:
    """Give the point of one cycle."""
    point = next((one for one in variant.curve(metric) if one.cycle == cycle), None) if metric else None
    if point is not None:
        return point, "run"
    if cycle >= variant.num_cycles:
        return None, f"the run has {variant.num_cycles} cycles"
    if any(result.cycle == cycle for run in variant.runs for result in run.cycles):
        return None, "not measured"
    return None, "failed" if all(run.status == "failed" for run in variant.runs) else "unfinished"


def _cycle_of(column: str) -> int:
    number = column.removeprefix(_CYCLE)
    if not column.startswith(_CYCLE) or not number.isdecimal():
        raise DataError(
            f"the columns of a table by cycle must be called {_CYCLE}0, {_CYCLE}1 and so on, got {column!r}"
        )
    return int(number)
