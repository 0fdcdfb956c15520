"""A table of ours beside the paper's printed numbers, and its CSV file; :mod:`alpl.report.judged.beside` makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from alpl.report.judged.verdict import Verdict
from alpl.report.read.aggregate import Point
from alpl.report.read.tables import csv_text, format_mean


@final
@dataclass(frozen=True)
class Cell:
    """One number of the paper beside ours (which is scaled to the paper's unit).

    Args:
        data: our data set.
        column: the paper's column, which may be none ("").
        metric: what the numbers are; "" where nothing was measured and the experiment names nothing.
        paper_mean: as printed.
        paper_std: as printed.
        ours: None where there is no number of ours.
        scale: what ours is multiplied by.
        status: "run", or why there is no number of ours: "not run", "missing: reason", "failed", "unfinished: ...".
        num_runs: seeds that were planned.
        is_comparable: whether both numbers are of the same data and metric.
        changes: what the command line changed of the experiment's setting; None where a run does not say.
        verdict: see :mod:`alpl.report.judged.verdict`; None where there is no number of ours or of the paper.
    """

    data: str
    column: str
    metric: str
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
        by_cycle: whether the columns are cycles of ``data``; else they are data sets, or metrics or rows on ``data``.
        title: what the columns are of, beside what each of them says; may be empty.
        data: the data set of a table of one, else "".
        is_main: whether it is of the metric that the experiment's table is of.
        is_judged: whether its numbers get verdicts.
        remark: what the reader must know before comparing.
        reference: the paper's name of the row that gains are told against.
        settings: which rows have another setting than the experiment's, a sentence for each setting.
    """

    lines: tuple[Line, ...]
    by_cycle: bool = False
    title: str = ""
    data: str = ""
    is_main: bool = True
    is_judged: bool = True
    remark: str = ""
    reference: str = ""
    settings: tuple[str, ...] = ()

    @property
    def is_printed(self) -> bool:
        """Whether the paper prints any of its numbers."""
        return any(cell.paper_mean for line in self.lines for cell in line.cells)

    @property
    def has_differences(self) -> bool:
        """Whether differences are shown; with verdicts always."""
        return self.is_judged or any(cell.difference is not None for line in self.lines for cell in line.cells)

    @property
    def headings(self) -> tuple[str, ...]:
        """What each column is of: its data set, or its metric where the table is of one data set."""
        cells = self.lines[0].cells if self.lines else ()
        return tuple(cell.metric if self.data else cell.data for cell in cells)


def paper_csv(comparisons: Sequence[Comparison]) -> str:
    """Write all comparisons: row (the paper's), ours, what it is, both numbers, difference, status, verdicts."""
    header = ["row", "ours", "data", "column", "metric", "paper_mean", "paper_std"]
    header += ["mean", "std", "seeds", "difference", "status", "verdict", "reason", "row_verdict"]
    rows = []
    for line in (line for one in comparisons for line in one.lines):
        for cell in line.cells:
            ours = (cell.ours.mean, cell.ours.std) if cell.ours else (None, None)
            scaled = [_digits(None if value is None else value * cell.scale) for value in ours]
            about = [line.paper_row, line.label, cell.data, cell.column, cell.metric]
            printed = [*about, cell.paper_mean, cell.paper_std]
            num_seeds = cell.ours.num_seeds if cell.ours else ""
            told = [cell.verdict.word, cell.verdict.reason] if cell.verdict else ["", ""]
            of_row = line.verdict.word if line.verdict else ""
            rows.append([*printed, *scaled, num_seeds, _digits(cell.difference), cell.status, *told, of_row])
    return csv_text(header, rows)


def _digits(value: float | None) -> str:
    """Enough digits for any table, and none that only show how floats are stored."""
    return "" if value is None else f"{value:.8g}"
