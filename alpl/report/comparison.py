"""Ours beside the paper's printed numbers: a column a data set, or a column a cycle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, final

from alpl.errors import DataError
from alpl.report.aggregate import Point, Variant, is_named, primary_metric
from alpl.report.classes import DEFAULT_REFERENCE
from alpl.report.gains import gains
from alpl.report.paper import PaperTable, Printed, named_by_cycle, read_printed
from alpl.report.split import part_of
from alpl.report.tables import csv_text, format_mean
from alpl.report.verdict import Verdict

_CYCLE = "cycle_"


@final
@dataclass(frozen=True)
class Cell:
    """One number of the paper beside ours (which is scaled to the paper's unit).

    Args:
        data: our data set.
        column: the paper's column, which may be none ("").
        paper_mean: as printed.
        paper_std: as printed.
        ours: None where there is no number of ours.
        scale: what ours is multiplied by.
        status: "run", or why there is no number of ours: "not run", "missing: reason", "failed", "unfinished: ...".
        num_runs: seeds that were planned.
        is_comparable: whether both numbers are of the same data and metric.
        changes: what the command line changed of the experiment's setting; None where a run does not say.
        verdict: see :mod:`alpl.report.verdict`; None where there is no number of ours or of the paper.
    """

    data: str
    column: str
    paper_mean: str
    paper_std: str
    ours: Point | None
    scale: float
    status: str
    num_runs: int = 0
    is_comparable: bool = True
    changes: tuple[str, ...] | None = ()
    verdict: Verdict | None = None

    @property
    def paper_text(self) -> str:
        """The paper's number as printed."""
        return self.paper_mean + (f" ± {self.paper_std}" if self.paper_std else "")

    @property
    def ours_text(self) -> str:
        """Our mean ± std with the number of seeds, or why there is none."""
        if self.ours is None:
            return self.status
        seeds = f"{self.ours.num_seeds}" + (f" of {self.num_runs}" if self.ours.num_seeds < self.num_runs else "")
        return f"{format_mean(self.ours.mean, self.ours.std, self.scale)} (n={seeds})"

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's, in the paper's unit."""
        if self.ours is None or not self.paper_mean or not self.is_comparable:
            return None
        return self.ours.mean * self.scale - float(self.paper_mean)

    @property
    def difference_text(self) -> str:
        """The difference with its sign; empty where a side is missing."""
        return "" if self.difference is None else f"{self.difference:+.{2 if self.scale >= 10 else 4}f}"


@final
@dataclass(frozen=True)
class Line:
    """One row of the table: the paper's name, our label, a cell for each column, what can be said of the row."""

    paper_row: str
    label: str
    cells: tuple[Cell, ...]
    verdict: Verdict | None = None


@final
@dataclass(frozen=True)
class Comparison:
    """The paper's rows in its order, then ours that the paper lacks.

    Args:
        lines: the rows.
        by_cycle: whether the columns are cycles of ``data``, or data sets.
        data: the data set of a table by cycle, else "".
        remark: what the reader must know before comparing.
        reference: the paper's name of the row that gains are told against.
        settings: which rows have another setting than the experiment's, a sentence for each setting.
    """

    lines: tuple[Line, ...]
    by_cycle: bool = False
    data: str = ""
    remark: str = ""
    reference: str = ""
    settings: tuple[str, ...] = ()


class _Row(NamedTuple):
    """One row of the paper, and our variants' label for it ("" where it was not run)."""

    paper_row: str
    label: str
    variants: list[Variant]

    def on(self, data: str) -> Variant | None:
        return next((variant for variant in self.variants if variant.data == data), None)


def compare(table: PaperTable, variants: Sequence[Variant], experiments: Path) -> list[Comparison]:
    """Set ours beside the paper's: one table, or one for each of our data sets where its columns are cycles.

    Raises:
        DataError: the paper's CSV is missing or does not fit, or a table by cycle does not say which data it is about.
    """
    assert table.paper is not None, "the caller asks for tables with a paper only"
    printed = named_by_cycle(table, read_printed(experiments / table.paper))
    variants = gains(variants, table.gain_over) if table.gain_over else variants
    if not table.by_cycle:
        return [_by_data(table, printed, variants)]
    if table.data is None:
        raise DataError("report.data must name the data set that the paper's numbers are about, got none")
    names = sorted(dict.fromkeys(variant.data for variant in variants), key=lambda data: data != table.data)
    return [_by_cycle(*part_of(table, printed, data), data, [v for v in variants if v.data == data]) for data in names]


def paper_csv(comparisons: Sequence[Comparison]) -> str:
    """Write the comparison: row (the paper's), ours, data, column, both numbers, difference, status, verdicts."""
    header = ["row", "ours", "data", "column", "paper_mean", "paper_std"]
    header += ["mean", "std", "seeds", "difference", "status", "verdict", "reason", "row_verdict"]
    rows = []
    for line in (line for one in comparisons for line in one.lines):
        for cell in line.cells:
            ours = (cell.ours.mean, cell.ours.std) if cell.ours else (None, None)
            scaled = [_digits(None if value is None else value * cell.scale) for value in ours]
            printed = [line.paper_row, line.label, cell.data, cell.column, cell.paper_mean, cell.paper_std]
            num_seeds = cell.ours.num_seeds if cell.ours else ""
            told = [cell.verdict.word, cell.verdict.reason] if cell.verdict else ["", ""]
            of_row = line.verdict.word if line.verdict else ""
            rows.append([*printed, *scaled, num_seeds, _digits(cell.difference), cell.status, *told, of_row])
    return csv_text(header, rows)


def _rows(table: PaperTable, printed: Printed, variants: Sequence[Variant]) -> list[_Row]:
    found: dict[str, dict[str, list[Variant]]] = {row: {} for row, _ in printed}
    extra: dict[str, list[Variant]] = {}
    for variant in variants:
        found.get(table.rows.get(variant.row, variant.row), extra).setdefault(variant.label, []).append(variant)
    ours = [
        _Row(row, label, members) for row, labels in found.items() for label, members in (labels or {"": []}).items()
    ]
    return ours + [_Row("", label, members) for label, members in extra.items()]


def _by_data(table: PaperTable, printed: Printed, variants: Sequence[Variant]) -> Comparison:
    columns = {**table.columns, **{v.data: "" for v in variants if v.data not in table.columns}}

    def cell(row: _Row, data: str, column: str) -> Cell:
        mean, std = printed.get((row.paper_row, column), ("", ""))
        variant = row.on(data)
        if variant is None:
            return Cell(data, column, mean, std, None, table.scale, _absent(table, row))
        point, status = _last(variant, table.metric)
        num_planned, changes = len(variant.planned_seeds), variant.changes
        return Cell(data, column, mean, std, point, table.scale, status, num_planned, changes=changes)

    rows = _rows(table, printed, variants)
    return Comparison(
        tuple(
            Line(r.paper_row, r.label, tuple(cell(r, data, column) for data, column in columns.items())) for r in rows
        ),
        reference=_reference(table, printed),
    )


def _by_cycle(table: PaperTable, printed: Printed, data: str, variants: Sequence[Variant]) -> Comparison:
    last = max([_cycle_of(column) for _, column in printed] + [variant.num_cycles - 1 for variant in variants])
    metric = primary_metric(variants, table.metric)
    remark = _remark(table, data, metric)

    def cell(row: _Row, cycle: int) -> Cell:
        column = f"{_CYCLE}{cycle}"
        mean, std = printed.get((row.paper_row, column), ("", ""))
        variant = row.on(data)
        if variant is None:
            return Cell(data, column, mean, std, None, table.scale, _absent(table, row))
        point, status = _at(variant, metric, cycle)
        num_planned, changes = len(variant.planned_seeds), variant.changes
        return Cell(data, column, mean, std, point, table.scale, status, num_planned, not remark, changes)

    rows = _rows(table, printed, variants)
    lines = (Line(r.paper_row, r.label, tuple(cell(r, cycle) for cycle in range(last + 1))) for r in rows)
    return Comparison(tuple(lines), True, data, remark, _reference(table, printed))


def _reference(table: PaperTable, printed: Printed) -> str:
    """Give the paper's name of the reference row: the experiment's, that of ``random``, or the first one."""
    rows = list(dict.fromkeys(row for row, _ in printed))
    wanted = (table.rows.get(name, name) for name in (table.reference, DEFAULT_REFERENCE) if name)
    return next((row for row in wanted if row in rows), rows[0] if rows else "")


def _remark(table: PaperTable, data: str, metric: str | None) -> str:
    if data != table.data:
        return (
            f"The paper's numbers are about {table.data}, these runs about {data}: data, and maybe model and schedule, "
            "are not the table's. The numbers show that all parts work together, and no difference is told."
        )
    if metric is not None and table.metric is not None and not is_named(metric, table.metric):
        return f"The paper's numbers are {table.metric}, which no run measured; {metric} stands beside them."
    return ""


def _absent(table: PaperTable, row: _Row) -> str:
    return f"missing: {table.missing[row.paper_row]}" if row.paper_row in table.missing else "not run"


def _last(variant: Variant, named: str | None) -> tuple[Point | None, str]:
    """Give the point of the last cycle: an earlier one has fewer labels than the paper's number."""
    metric = primary_metric([variant], named)
    curve = variant.curve(metric) if metric else ()
    if curve and curve[-1].cycle == variant.num_cycles - 1:
        return curve[-1], "run"
    if all(run.status == "failed" for run in variant.runs):
        return None, "failed"
    return None, f"unfinished: {len(curve)} of {variant.num_cycles} cycles"


def _at(variant: Variant, metric: str | None, cycle: int) -> tuple[Point | None, str]:
    """Give the point of one cycle."""
    point = next((one for one in variant.curve(metric) if one.cycle == cycle), None) if metric else None
    if point is not None:
        return point, "run"
    if cycle >= variant.num_cycles:
        return None, f"the run has {variant.num_cycles} cycles"
    return None, "failed" if all(run.status == "failed" for run in variant.runs) else "unfinished"


def _cycle_of(column: str) -> int:
    number = column.removeprefix(_CYCLE)
    if not column.startswith(_CYCLE) or not number.isdecimal():
        raise DataError(
            f"the columns of a table by cycle must be called {_CYCLE}0, {_CYCLE}1 and so on, got {column!r}"
        )
    return int(number)


def _digits(value: float | None) -> str:
    """Enough digits for any table, and none that only show how floats are stored."""
    return "" if value is None else f"{value:.8g}"
