"""The numbers of a table: long CSV, wide text for a terminal, seconds of each stage."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

from alpl.machine.cells import cell
from alpl.report.read.aggregate import Point, Variant, primary_metric, seconds
from alpl.report.read.partial import seeds_text

SHARES = ("test/accuracy", "test/map")
"""Metrics that begin like this lie in [0, 1] and are shown in percent; table.csv holds them as measured."""
LOW = ("test/loss", "l1_score")
"""Metrics that begin like this are the better the lower they are."""
EMPTY = "—"


@final
@dataclass(frozen=True, eq=False)
class WideTable:
    """One data set: a line a variant, a column for each number of labeled images.

    Args:
        data: the data set's name.
        metric: the primary metric; None while no cycle is finished.
        columns: numbers of labeled images, ascending.
        variants: the lines.
        cells: ``[line][column]``.
    """

    data: str
    metric: str | None
    columns: tuple[float, ...]
    variants: tuple[Variant, ...]
    cells: tuple[tuple[Point | None, ...], ...]

    def is_best(self, line: int, column: int) -> bool:
        """Whether this mean is the best of its column; a column of one number, or of equal ones, has none."""
        points = [cells[column] for cells in self.cells]
        means = [point.mean for point in points if point is not None and not math.isnan(point.mean)]
        here = points[line]
        best = min if self.metric is not None and self.metric.startswith(LOW) else max
        return here is not None and len(set(means)) > 1 and here.mean == best(means)

    def text(self, line: int, column: int) -> str:
        """``mean ± std``; with the number of seeds where not all that were planned came so far."""
        point = self.cells[line][column]
        if point is None or self.metric is None:
            return EMPTY
        shown = format_mean(point.mean, point.std, scale_of(self.metric))
        return shown if point.num_seeds == len(self.variants[line].planned_seeds) else f"{shown} (n={point.num_seeds})"


def wide_tables(variants: Sequence[Variant], named: str | None = None) -> list[WideTable]:
    """Give one table a data set, in the order of the variants.

    Args:
        variants: the lines.
        named: the metric, see :func:`alpl.report.read.aggregate.primary_metric`.
    """
    tables = []
    for data in dict.fromkeys(variant.data for variant in variants):
        members = tuple(variant for variant in variants if variant.data == data)
        metric = primary_metric(members, named)
        points = [member.curve(metric) if metric else () for member in members]
        curves = [{point.num_labeled: point for point in curve} for curve in points]
        columns = tuple(sorted({labeled for curve in curves for labeled in curve}))
        cells = tuple(tuple(curve.get(labeled) for labeled in columns) for curve in curves)
        tables.append(WideTable(data, metric, columns, members, cells))
    return tables


def long_csv(variants: Sequence[Variant]) -> str:
    """Every metric of every cycle as measured: data,row,cycle,num_labeled,metric,mean,std,seeds."""
    lines = (
        [variant.data, variant.label, point.cycle, number(point.num_labeled), metric, repr(point.mean),
         "" if point.std is None else repr(point.std), point.num_seeds]
        for variant in variants
        for metric in variant.metrics
        for point in variant.curve(metric)
    )  # fmt: skip
    return csv_text(["data", "row", "cycle", "num_labeled", "metric", "mean", "std", "seeds"], lines)


def seconds_csv(variants: Sequence[Variant]) -> str:
    """Mean seconds of each stage: data,row,cycle,stage,seconds,seeds."""
    lines = (
        [variant.data, variant.label, cycle, stage, f"{mean:.3f}", runs]
        for variant in variants
        for (cycle, stage), (mean, runs) in seconds(variant).items()
    )
    return csv_text(["data", "row", "cycle", "stage", "seconds", "seeds"], lines)


def terminal(tables: Sequence[WideTable]) -> str:
    """Give the wide tables as plain text."""
    parts = []
    for table in tables:
        lines = [_head(table), *_rows(table)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        shown = [
            "  ".join(text.rjust(width) if column else text.ljust(width)
                      for column, (text, width) in enumerate(zip(line, widths, strict=True))).rstrip()
            for line in lines
        ]  # fmt: skip
        parts.append("\n".join([_title(table), *shown]))
    return "\n\n".join(parts)


def scale_of(metric: str) -> float:
    """100 for shares, which are shown in percent; 1 for everything else."""
    return 100.0 if metric.startswith(SHARES) else 1.0


def metric_title(metric: str) -> str:
    """Name a metric for people.

    >>> metric_title("test/accuracy")
    'test accuracy (%)'
    """
    return metric.replace("/", " ").replace("_", " ") + (" (%)" if scale_of(metric) == 100 else "")


def format_mean(mean: float, std: float | None, scale: float) -> str:
    """Write ``mean ± std``, the mean alone for a single seed.

    >>> format_mean(0.8123, 0.0042, 100.0), format_mean(0.25, None, 1.0)
    ('81.23 ± 0.42', '0.2500')
    """
    digits = 2 if scale >= 10 else 4
    return f"{mean * scale:.{digits}f}" + ("" if std is None else f" ± {std * scale:.{digits}f}")


def number(value: float) -> str:
    """Write a count without a fraction where it has none.

    >>> number(50.0), number(50.5)
    ('50', '50.5')
    """
    return str(int(value)) if value == int(value) else f"{value:.1f}"


def csv_text(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Write a CSV file's text, in which no name is a formula to the spreadsheet that opens it: see :func:`cell`."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([cell(value) for value in line] for line in lines)
    return stream.getvalue()


def _title(table: WideTable) -> str:
    if table.metric is None:
        return f"{table.data}: no cycle is finished yet"
    return f"{table.data}: {metric_title(table.metric)} by labeled images"


def _head(table: WideTable) -> list[str]:
    return ["acquisition", *(number(labeled) for labeled in table.columns), "seeds"]


def _rows(table: WideTable) -> list[list[str]]:
    places = range(len(table.columns))
    return [
        [variant.label, *(table.text(line, place) for place in places), seeds_text(variant)]
        for line, variant in enumerate(table.variants)
    ]
