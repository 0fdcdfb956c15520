"""Columns made of a metric, set beside the paper's where it prints them; see :mod:`alpl.report.read.measures`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from alpl.report.judged.beside import Column, table_by_data, tables_by_cycle
from alpl.report.judged.comparison import Comparison, Line
from alpl.report.judged.gains import data_of
from alpl.report.read.aggregate import Variant, primary_metric
from alpl.report.read.cycles import at_cycle
from alpl.report.read.measures import Measure
from alpl.report.read.paper import PaperTable
from alpl.report.read.printed import Printed
from alpl.runs.results import CycleResult, RunResult


def derived_tables(table: PaperTable, printed: Printed, variants: Sequence[Variant]) -> list[Comparison]:
    """Give a table for each measure, or for each of its data sets where its columns are cycles.

    Args:
        table: what the experiment says.
        printed: the paper's numbers; empty where it prints none.
        variants: all of a table.
    """
    return [one for measure in table.derived for one in _tables(table, printed, variants, measure)]


def measured(variants: Sequence[Variant], measure: Measure) -> list[Variant]:
    """Give the variants that the measure can be told of, each metric replaced by it, seed by seed.

    Cycles that either side has not measured are left out. Training on all data has one cycle, which counts for each.
    """
    found = []
    for variant in variants:
        if measure.kind == "rise":
            made = None if variant.is_all_data else tuple(_rise(run) for run in variant.runs)
        else:
            made = _against(variant, variants, measure)
        if made is not None:
            found.append(Variant(variant.label, made))
    return found


def _tables(table: PaperTable, printed: Printed, variants: Sequence[Variant], measure: Measure) -> list[Comparison]:
    """Give the tables of one measure; a row that neither side has a number of is left out."""
    numbers = _numbers(table, printed, variants, measure)
    part = replace(
        table, metrics={}, cost=None, overlap=None, gain_over={}, derived=(), cycle=measure.cycle,
        columns={} if measure.by_cycle else measure.columns,
        cycles={int(cycle): column for cycle, column in measure.columns.items() if column} if measure.by_cycle else {},
        metric=primary_metric(variants, table.metric), scale=table.scale if measure.kind == "rise" else 100.0,
    )  # fmt: skip
    if measure.by_cycle:
        found = tables_by_cycle(part, numbers, measured(variants, measure), is_main=False)
    else:
        made = measured([at_cycle(variant, measure.cycle) for variant in variants], measure)
        shown = (part.metric or "").removeprefix("test/")
        found = [table_by_data(part, numbers, made, [Column(*one, shown, True) for one in measure.columns.items()])]
    return [_shown(one, measure) for one in found if any(_is_told(line) for line in one.lines)]


def _shown(one: Comparison, measure: Measure) -> Comparison:
    lines = tuple(line for line in one.lines if _is_told(line))
    told = replace(one, lines=lines, title=measure.title, is_main=False)
    return told if told.is_printed else replace(told, is_judged=False, remark="")


def _is_told(line: Line) -> bool:
    return any(cell.paper_mean or cell.ours is not None for cell in line.cells)


def _numbers(table: PaperTable, printed: Printed, variants: Sequence[Variant], measure: Measure) -> Printed:
    """Give the paper's numbers of a measure; a row without one keeps its name and its place."""
    rows = dict.fromkeys(row for row, _ in printed) or dict.fromkeys(table.rows.get(v.row, v.row) for v in variants)
    others = {table.rows.get(row, row) for row in measure.of.values()} if measure.kind == "relative" else set()
    numbers = {key: value for key, value in printed.items() if key[1] in measure.printed and key[0] not in others}
    with_number, column = {row for row, _ in numbers}, next(iter(table.cycles.values()), "cycle_0")
    return numbers | {(row, column): ("", "") for row in rows if row not in with_number}


def _against(variant: Variant, variants: Sequence[Variant], measure: Measure) -> tuple[RunResult, ...] | None:
    """Tell the runs of a variant against those of its other row; None where there is none or it is the row itself.

    All data is told against no query: it has no cycle in common with one.
    """
    row = measure.other(variant.row)
    others = [one for one in variants if one.row == row and data_of(one) == data_of(variant)]
    if row == variant.row or not others or (variant.is_all_data and not others[0].is_all_data):
        return None
    theirs = {run.seed: run for other in others for run in other.runs}
    less = 1.0 if measure.kind == "improvement" else 0.0
    return tuple(_by(run, theirs.get(run.seed), less) for run in variant.runs)


def _by(run: RunResult, other: RunResult | None, less: float) -> RunResult:
    known = {} if other is None else {cycle.cycle: cycle for cycle in other.cycles}
    is_all = other is not None and other.is_all_labeled and bool(other.cycles)
    theirs = {c.cycle: other.cycles[-1] if other is not None and is_all else known.get(c.cycle) for c in run.cycles}
    return _made(run, {cycle: one.metrics for cycle, one in theirs.items() if one is not None},
                 lambda ours, base: ours / base - less if base else None)  # fmt: skip


def _rise(run: RunResult) -> RunResult:
    start = next((cycle.metrics for cycle in run.cycles if cycle.cycle == 0), None)
    return _made(run, {} if start is None else {cycle.cycle: start for cycle in run.cycles}, lambda a, b: a - b)


def _made(
    run: RunResult, bases: Mapping[int, Mapping[str, float]], made: Callable[[float, float], float | None]
) -> RunResult:
    """Make each metric of each cycle that has a base out of both."""

    def of(cycle: CycleResult, base: Mapping[str, float]) -> CycleResult:
        values = {name: made(value, base[name]) for name, value in cycle.metrics.items() if name in base}
        return replace(cycle, metrics={name: value for name, value in values.items() if value is not None})

    return replace(run, cycles=tuple(of(one, bases[one.cycle]) for one in run.cycles if one.cycle in bases))
