"""What an experiment says about a paper's table, and the paper's printed numbers."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias, final

from alpl.errors import DataError
from alpl.results import RunResult

COLUMNS = ("row", "column", "mean", "std")
CYCLES = "cycles"
Printed: TypeAlias = Mapping[tuple[str, str], tuple[str, str]]
"""(row, column) -> (mean, std) as printed, in the paper's order."""


@final
@dataclass(frozen=True)
class PaperTable:
    """What an experiment says about the paper's table (the ``report`` of its yaml).

    Args:
        paper: the CSV file, relative to the experiments folder.
        rows: our row -> the paper's row.
        columns: our data set -> the paper's column; in the yaml ``cycles`` where the paper's columns are the cycles of
            one data set (``cycle_0``, ``cycle_1`` and so on), which is ``by_cycle`` here.
        by_cycle: see ``columns``.
        data: our data set that the numbers of a table by cycle are about.
        metric: our metric that the numbers are of, without ``test/``; the first one if None.
        reference: our row that gains of classes are told against; ``random`` or the first one if None.
        scale: what our metric is multiplied by to be in the paper's unit.
        missing: the paper's rows that cannot be run yet -> the reason.
        caption: one sentence about the table.
    """

    paper: str | None = None
    rows: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    by_cycle: bool = False
    data: str | None = None
    metric: str | None = None
    reference: str | None = None
    scale: float = 1.0
    missing: Mapping[str, str] = field(default_factory=dict)
    caption: str = ""


def paper_table(runs: Sequence[RunResult]) -> PaperTable:
    """Join what the runs' reports say; a run further down the list overrides.

    Runs of one table can carry different reports: those that finished before the experiment got another row.

    Raises:
        DataError: ``columns`` is a text other than ``cycles``.
    """
    joined: dict[str, Any] = {}
    for report in (run.report for run in runs if run.report):
        columns = report.get("columns") or {}
        joined["by_cycle"] = columns == CYCLES
        if isinstance(columns, str) and columns != CYCLES:
            raise DataError(f"report.columns must be {CYCLES} or map data sets to columns, got {columns!r}")
        maps = {"rows": report.get("rows"), "missing": report.get("missing")}
        maps["columns"] = None if joined["by_cycle"] else columns
        for name, given in maps.items():
            joined[name] = {**joined.get(name, {}), **{str(k): str(v) for k, v in (given or {}).items()}}
        texts = ("paper", "data", "metric", "reference", "caption")
        joined.update({name: str(report[name]) for name in texts if report.get(name)})
        joined["scale"] = float(report.get("scale") or 1.0)
    return PaperTable(**joined)


def unknown_keys(runs: Iterable[RunResult]) -> list[str]:
    """Name the keys of the runs' reports that mean nothing."""
    known = {each.name for each in fields(PaperTable)} - {"by_cycle"}
    return sorted({str(key) for run in runs for key in run.report or {}} - known)


def read_printed(path: Path) -> Printed:
    """Read the paper's CSV.

    Raises:
        DataError: it is missing, has other columns, or a mean is no number.
    """
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
