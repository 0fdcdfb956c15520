"""Ours beside the paper's printed numbers."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from alpl.errors import DataError
from alpl.report.aggregate import Point, Variant, primary_metric
from alpl.report.tables import csv_text, format_mean
from alpl.results import RunResult

COLUMNS = ("row", "column", "mean", "std")


@final
@dataclass(frozen=True)
class PaperTable:
    """What an experiment says about the paper's table (the ``report`` of its yaml).

    Args:
        paper: the CSV file, relative to the experiments folder.
        rows: our row -> the paper's row.
        columns: our data set -> the paper's column.
        scale: what our metric is multiplied by to be in the paper's unit.
        missing: the paper's rows that cannot be run yet -> the reason.
        caption: one sentence about the table.
    """

    paper: str | None = None
    rows: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    scale: float = 1.0
    missing: Mapping[str, str] = field(default_factory=dict)
    caption: str = ""


@final
@dataclass(frozen=True)
class Cell:
    """One row on one data set, the paper's number and ours (which is scaled to the paper's unit).

    ``status`` says why there is no number of ours: "not run", "missing: reason", "failed", "unfinished: ...".
    """

    data: str
    column: str
    paper_mean: str
    paper_std: str
    ours: Point | None
    scale: float
    status: str

    @property
    def paper_text(self) -> str:
        """The paper's number as printed."""
        return self.paper_mean + (f" ± {self.paper_std}" if self.paper_std else "")

    @property
    def ours_text(self) -> str:
        """Our mean ± std with the number of seeds, or why there is none."""
        if self.ours is None:
            return self.status
        return f"{format_mean(self.ours.mean, self.ours.std, self.scale)} (n={self.ours.num_seeds})"

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's, in the paper's unit."""
        return self.ours.mean * self.scale - float(self.paper_mean) if self.ours and self.paper_mean else None

    @property
    def difference_text(self) -> str:
        """The difference with its sign; empty where a side is missing."""
        return "" if self.difference is None else f"{self.difference:+.{2 if self.scale >= 10 else 4}f}"


@final
@dataclass(frozen=True)
class Line:
    """One row of the table: the paper's name, our label, a cell for each data set."""

    paper_row: str
    label: str
    cells: tuple[Cell, ...]


def paper_table(runs: Sequence[RunResult]) -> PaperTable:
    """Join what the runs' reports say; a run further down the list overrides.

    Runs of one table can carry different reports: those that finished before the experiment got another row.
    """
    joined: dict[str, Any] = {}
    for report in (run.report for run in runs if run.report):
        for name in ("rows", "columns", "missing"):
            joined[name] = {
                **joined.get(name, {}),
                **{str(k): str(v) for k, v in (report.get(name) or {}).items()},
            }
        joined.update({name: str(report[name]) for name in ("paper", "caption") if report.get(name)})
        joined["scale"] = float(report.get("scale") or 1.0)
    return PaperTable(**joined)


def beside_paper(table: PaperTable, variants: Sequence[Variant], experiments: Path) -> list[Line]:
    """Give every row of the paper in its order, then ours that the paper lacks.

    Raises:
        DataError: the paper's CSV is missing or has other columns.
    """
    assert table.paper is not None, "the caller asks for tables with a paper only"
    printed = _read(experiments / table.paper)
    columns = {**table.columns, **{v.data: "" for v in variants if v.data not in table.columns}}
    labels: dict[str, dict[str, None]] = {row: {} for row, _ in printed}
    extra: dict[str, None] = {}
    for variant in variants:
        labels.get(table.rows.get(variant.row, variant.row), extra)[variant.label] = None
    lines = [(row, label) for row, found in labels.items() for label in (found or {"": None})]
    lines += [("", label) for label in extra]
    return [
        Line(row, label, tuple(_cell(table, printed, (row, label), (data, column), variants)
                               for data, column in columns.items()))
        for row, label in lines
    ]  # fmt: skip


def paper_csv(lines: Sequence[Line]) -> str:
    """Write the comparison: row (the paper's), ours, data, column, both numbers, difference and status."""
    header = ["row", "ours", "data", "column", "paper_mean", "paper_std"]
    header += ["mean", "std", "seeds", "difference", "status"]
    rows = []
    for line in lines:
        for cell in line.cells:
            ours = (cell.ours.mean, cell.ours.std) if cell.ours else (None, None)
            scaled = [_digits(None if value is None else value * cell.scale) for value in ours]
            printed = [line.paper_row, line.label, cell.data, cell.column, cell.paper_mean, cell.paper_std]
            num_seeds = cell.ours.num_seeds if cell.ours else ""
            rows.append([*printed, *scaled, num_seeds, _digits(cell.difference), cell.status])
    return csv_text(header, rows)


def _cell(
    table: PaperTable,
    printed: Mapping[tuple[str, str], tuple[str, str]],
    line: tuple[str, str],
    column: tuple[str, str],
    variants: Sequence[Variant],
) -> Cell:
    (row, label), (data, paper_column) = line, column
    mean, std = printed.get((row, paper_column), ("", ""))
    variant = next((variant for variant in variants if variant.label == label and variant.data == data), None)
    if variant is None:
        status = f"missing: {table.missing[row]}" if row in table.missing else "not run"
        return Cell(data, paper_column, mean, std, None, table.scale, status)
    point, status = _last(variant)
    return Cell(data, paper_column, mean, std, point, table.scale, status)


def _last(variant: Variant) -> tuple[Point | None, str]:
    """Give the point of the last cycle: an earlier one has fewer labels than the paper's number."""
    metric = primary_metric([variant])
    curve = variant.curve(metric) if metric else ()
    if curve and curve[-1].cycle == variant.num_cycles - 1:
        return curve[-1], "run"
    if all(run.status == "failed" for run in variant.runs):
        return None, "failed"
    return None, f"unfinished: {len(curve)} of {variant.num_cycles} cycles"


def _read(path: Path) -> dict[tuple[str, str], tuple[str, str]]:
    """Give (row, column) -> (mean, std) as printed, in the paper's order."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise DataError(f"{path} must have the columns {','.join(COLUMNS)}, got {reader.fieldnames}")
            found = {(line["row"], line["column"]): (line["mean"], line["std"] or "") for line in reader}
        for mean, _ in found.values():
            float(mean or "nan")
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"the paper's table cannot be read: {error}") from error
    return found


def _digits(value: float | None) -> str:
    """Enough digits for any table, and none that only show how floats are stored."""
    return "" if value is None else f"{value:.8g}"
