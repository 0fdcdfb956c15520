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
class Split:
    """A setting for each value of which a table repeats its rows.

    Args:
        key: where the config has the setting, dotted.
        values: its value as text -> what the paper's rows begin with.
    """

    key: str
    values: Mapping[str, str]


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
        cycles: our cycle -> the paper's column, where the paper calls the columns of a table by cycle otherwise; its
            other columns are left out.
        split: a setting for each value of which the rows repeat; ``rows`` then have "{}" where the value's name stands.
        data: our data set that the numbers of a table by cycle are about.
        metric: our metric that the numbers are of, with or without ``test/``; the first ``test/*`` one if None.
        gain_over: our row -> our row that it is told against, where the paper prints gains instead of values: ours is
            then the row's metric less the other's, seed by seed.
        reference: our row that gains are told against; ``random`` or the first one if None.
        paper_seeds: runs behind each number of the paper; None where it does not say.
        tolerance: the widest half width, in the paper's unit, of an interval by which a number counts as reproduced;
            the median of the paper's gains over the reference row if None.
        scale: what our metric is multiplied by to be in the paper's unit.
        missing: the paper's rows that cannot be run yet -> the reason.
        caption: one sentence about the table.
        trial: the ``scale`` that makes a trial of the experiment; for the page of all tables.
    """

    paper: str | None = None
    rows: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    by_cycle: bool = False
    cycles: Mapping[int, str] = field(default_factory=dict)
    split: Split | None = None
    data: str | None = None
    metric: str | None = None
    gain_over: Mapping[str, str] = field(default_factory=dict)
    reference: str | None = None
    paper_seeds: int | None = None
    tolerance: float | None = None
    scale: float = 1.0
    missing: Mapping[str, str] = field(default_factory=dict)
    caption: str = ""
    trial: str = "smoke"


def paper_table(runs: Sequence[RunResult]) -> PaperTable:
    """Join what the runs' reports say; a run further down the list overrides.

    Runs of one table can carry different reports: those that finished before the experiment got another row.

    Raises:
        DataError: see :func:`joined_reports`.
    """
    return joined_reports([run.report for run in runs if run.report])


def joined_reports(reports: Sequence[Mapping[str, Any]]) -> PaperTable:
    """Join the ``report`` nodes of configs; one further down the list overrides.

    Raises:
        DataError: ``columns`` is a text other than ``cycles``, or ``split`` has other entries than its own.
    """
    joined: dict[str, Any] = {}
    for report in reports:
        columns = report.get("columns") or {}
        joined["by_cycle"] = columns == CYCLES
        if isinstance(columns, str) and columns != CYCLES:
            raise DataError(f"report.columns must be {CYCLES} or map data sets to columns, got {columns!r}")
        maps = {name: report.get(name) for name in ("rows", "missing", "gain_over")}
        maps["columns"] = None if joined["by_cycle"] else columns
        for name, given in maps.items():
            joined[name] = {**joined.get(name, {}), **{str(k): str(v) for k, v in (given or {}).items()}}
        joined["cycles"] = {int(cycle): str(column) for cycle, column in (report.get("cycles") or {}).items()}
        joined["split"] = _split(report.get("split"))
        texts = ("paper", "data", "metric", "reference", "caption", "trial")
        joined.update({name: str(report[name]) for name in texts if report.get(name)})
        joined["scale"] = float(report.get("scale") or 1.0)
        joined["paper_seeds"] = int(report["paper_seeds"]) if report.get("paper_seeds") else None
        joined["tolerance"] = float(report["tolerance"]) if report.get("tolerance") else None
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


def named_by_cycle(table: PaperTable, printed: Printed) -> Printed:
    """Call the paper's columns ``cycle_0``, ``cycle_1`` and so on, less those that are no cycle."""
    if not table.cycles:
        return printed
    names = {column: f"cycle_{cycle}" for cycle, column in table.cycles.items()}
    return {(row, names[column]): value for (row, column), value in printed.items() if column in names}


def _split(given: Any) -> Split | None:
    if not given:
        return None
    if not isinstance(given, Mapping) or set(given) != {"key", "values"} or not isinstance(given["values"], Mapping):
        raise DataError(f"report.split must have a key and values (value: how rows begin), got {given!r}")
    return Split(str(given["key"]), {str(value): str(label) for value, label in given["values"].items()})
