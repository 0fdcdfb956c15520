"""What an experiment says about a paper's table: the ``report`` of its yaml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, final

from alpl.errors import DataError
from alpl.report.read.claims import Claim, read_claims
from alpl.report.read.cycles import LAST, check_cycle
from alpl.report.read.measures import Measure, read_measures
from alpl.report.read.metric_rows import MetricRow, read_metric_rows
from alpl.runs.results import RunResult

CYCLES = "cycles"


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
class PrintedCost:
    """Where the paper prints what a row's network costs.

    Args:
        parameters: its column of parameters in millions, "" for none.
        trainable: the same, where the paper counts only those that a fit changes.
        seconds: its column of forward seconds, "" for none.
        reference: our row that costs are told as a multiple of; "" for the table's reference row.
    """

    parameters: str = ""
    trainable: str = ""
    seconds: str = ""
    reference: str = ""

    @property
    def columns(self) -> set[str]:
        """The columns that there are."""
        return {self.parameters, self.trainable, self.seconds} - {""}


@final
@dataclass(frozen=True)
class PrintedOverlap:
    """Where the paper prints how much the queries of two rows have in common.

    Args:
        columns: our row -> the paper's column of what it has in common with the others.
        cycle: the last query that counts; 0 for the first query alone.
    """

    columns: Mapping[str, str]
    cycle: int = 0


@final
@dataclass(frozen=True)
class PaperTable:
    """What an experiment says about the paper's table (the ``report`` of its yaml).

    Args:
        paper: the CSV file, relative to the experiments folder.
        rows: our row -> the paper's row.
        columns: our data set -> the paper's column; in the yaml ``cycles`` where the paper's columns are the cycles of
            one data set (``cycle_0``, ``cycle_1`` and so on), which is ``by_cycle`` here, or a key and values where
            they are values of a setting, which is ``by_setting``.
        by_cycle: see ``columns``.
        by_setting: see ``columns``; its values as text -> the paper's column.
        cycle: which cycle the numbers of tables by data set or setting are of: a number, ``last`` or ``mean``.
        cycles: our cycle -> the paper's column, where the paper calls the columns of a table by cycle otherwise; its
            other columns are left out.
        split: a setting for each value of which the rows repeat; ``rows`` then have "{}" where the value's name stands.
        data: our data set that the numbers of a table by cycle, or of overlaps, are about.
        metric: our metric that the numbers are of, with or without ``test/``; the first ``test/*`` one if None.
        metrics: further metrics of ours that the paper prints, each with its columns as ``columns`` has them, or as
            ``cycles`` in a table by cycle.
        derived: further columns that are made of the metric.
        metric_rows: further rows that are another metric of a row's runs.
        claims: that a row is better than another, judged over seeds.
        figures: what the report draws, see :mod:`alpl.report.drawn.declared`; the default set if None.
        draws: the paper's figures that ours are of; for the page of all tables.
        cost: where the paper prints parameters and forward seconds; the costs of our networks are shown without, too.
        overlap: where the paper prints what queries have in common.
        gain_over: our row -> our row that it is told against, where the paper prints gains instead of values: ours is
            then the row's metric less the other's, seed by seed.
        unprinted: our rows that a sweep runs although the paper prints no number of them: for its curves.
        reference: our row that gains are told against; ``random`` or the first one if None.
        paper_seeds: runs behind each number of the paper; None where it does not say.
        tolerance: the widest half width, in the paper's unit, of an interval by which a number counts as reproduced;
            the median of the paper's gains over the reference row if None.
        scale: what our metric is multiplied by to be in the paper's unit.
        missing: the paper's rows that cannot be run yet -> the reason.
        contradicted: the paper's row -> its column -> where the paper says otherwise of the same setting: a number
            that cannot be told reproduced or not.
        caption: one sentence about the table.
        trial: the ``scale`` that makes a trial of the experiment; for the page of all tables.
    """

    paper: str | None = None
    rows: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    by_cycle: bool = False
    by_setting: Split | None = None
    cycle: int | str = LAST
    cycles: Mapping[int, str] = field(default_factory=dict)
    split: Split | None = None
    data: str | None = None
    metric: str | None = None
    metrics: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    derived: tuple[Measure, ...] = ()
    metric_rows: Mapping[str, MetricRow] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    figures: tuple[Any, ...] | None = None
    draws: tuple[str, ...] = ()
    cost: PrintedCost | None = None
    overlap: PrintedOverlap | None = None
    gain_over: Mapping[str, str] = field(default_factory=dict)
    unprinted: tuple[str, ...] = ()
    reference: str | None = None
    paper_seeds: int | None = None
    tolerance: float | None = None
    scale: float = 1.0
    missing: Mapping[str, str] = field(default_factory=dict)
    contradicted: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    caption: str = ""
    trial: str = "smoke"


def text_of(value: Any) -> str:
    """Give the value of a setting as text, numbers in their shortest form.

    >>> text_of(1.0), text_of("1.0"), text_of(True), text_of(0.25)
    ('1', '1.0', 'True', '0.25')
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{value:g}" if is_number else str(value)


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
        DataError: an entry is of another kind, ``columns`` is a text other than ``cycles``, or ``split``, ``metrics``,
            ``contradicted``, ``cost`` or ``overlap`` has other entries than its own.
    """
    joined: dict[str, Any] = {}
    for report in reports:
        _check_kinds(report)
        columns = report.get("columns") or {}
        joined["by_cycle"] = columns == CYCLES
        if isinstance(columns, str) and columns != CYCLES:
            raise DataError(f"report.columns must be {CYCLES} or map data sets to columns, got {columns!r}")
        maps = {name: report.get(name) for name in ("rows", "missing", "gain_over")}
        is_setting = isinstance(columns, Mapping) and set(columns) == {"key", "values"}
        joined["by_setting"] = _split(columns, "columns") if is_setting else None
        maps["columns"] = None if joined["by_cycle"] or is_setting else columns
        for name, given in maps.items():
            joined[name] = {**joined.get(name, {}), **{str(k): str(v) for k, v in (given or {}).items()}}
        joined["cycles"] = {int(cycle): str(column) for cycle, column in (report.get("cycles") or {}).items()}
        joined["split"] = _split(report.get("split"), "split")
        joined["cycle"] = check_cycle("report.cycle", report.get("cycle", LAST))
        joined["derived"], joined["metric_rows"] = (
            read_measures(report.get("derived")),
            read_metric_rows(report.get("metric_rows")),
        )
        joined["claims"] = read_claims(report.get("claims"))
        joined["figures"], joined["draws"] = _figures(report.get("figures")), _draws(report.get("draws"))
        joined["metrics"] = {
            **joined.get("metrics", {}),
            **_nested(report, "metrics", "metrics to columns (data set or cycle: column)"),
        }
        told = _nested(report, "contradicted", "the paper's rows to columns (column: why)")
        joined["contradicted"] = {**joined.get("contradicted", {}), **told}
        joined["cost"], joined["overlap"] = _cost(report.get("cost")), _overlap(report.get("overlap"))
        unprinted = [*joined.get("unprinted", ()), *(str(row) for row in report.get("unprinted") or ())]
        joined["unprinted"] = tuple(dict.fromkeys(unprinted))
        texts = ("paper", "data", "metric", "reference", "caption", "trial")
        joined.update({name: str(report[name]) for name in texts if report.get(name)})
        joined["scale"] = float(report.get("scale") or 1.0)
        joined["paper_seeds"] = int(report["paper_seeds"]) if report.get("paper_seeds") else None
        joined["tolerance"] = float(report["tolerance"]) if report.get("tolerance") else None
    return PaperTable(**joined)


def unknown_keys(runs: Iterable[RunResult]) -> list[str]:
    """Name the keys of the runs' reports that mean nothing."""
    known = {each.name for each in fields(PaperTable)} - {"by_cycle", "by_setting"}
    return sorted({str(key) for run in runs for key in run.report or {}} - known)


def _check_kinds(report: Any) -> None:
    """Make sure that entries are of the kind that they are read as.

    Raises:
        DataError: the first that is not.
    """
    if not isinstance(report, Mapping):
        raise DataError(f"report must map its keys to values (see alpl/report/read/paper.py), got {report!r}")
    for name in ("rows", "missing", "gain_over", "columns", "cycles"):
        given = report.get(name)
        if given is not None and not isinstance(given, Mapping) and not (name == "columns" and isinstance(given, str)):
            raise DataError(f"report.{name} must be a mapping, got {given!r}")
    if not all(str(cycle).isdecimal() for cycle in report.get("cycles") or ()):
        raise DataError(f"report.cycles must map numbers of cycles to columns, got {report['cycles']!r}")
    if not isinstance(report.get("unprinted") or [], (list, tuple)):
        raise DataError(f"report.unprinted must be a list of rows, got {report['unprinted']!r}")
    for name, kind in (("scale", float), ("tolerance", float), ("paper_seeds", int)):
        try:
            kind(report.get(name) or 1)
        except (TypeError, ValueError) as error:
            raise DataError(f"report.{name} must be a number, got {report[name]!r}") from error


def _split(given: Any, name: str) -> Split | None:
    if not given:
        return None
    if not isinstance(given, Mapping) or set(given) != {"key", "values"} or not isinstance(given["values"], Mapping):
        raise DataError(f"report.{name} must have a key and values (value: the paper's name), got {given!r}")
    return Split(str(given["key"]), {text_of(value): str(label) for value, label in given["values"].items()})


def _figures(given: Any) -> tuple[Any, ...] | None:
    """Figures in a list, or in a mapping whose keys are for overrides alone and whose values are in order."""
    if given is None or isinstance(given, (list, tuple, Mapping)):
        return None if given is None else tuple(given.values() if isinstance(given, Mapping) else given)
    raise DataError(f"report.figures must be a list or a mapping of figures, got {given!r}")


def _draws(given: Any) -> tuple[str, ...]:
    if given is None or isinstance(given, (list, tuple)):
        return tuple(str(name) for name in given or ())
    raise DataError(f"report.draws must be a list of the paper's figures, got {given!r}")


def _nested(report: Mapping[str, Any], key: str, what: str) -> dict[str, dict[str, str]]:
    given = report.get(key)
    named = {} if given is None else given
    if not isinstance(named, Mapping) or not all(isinstance(columns, Mapping) for columns in named.values()):
        raise DataError(f"report.{key} must map {what}, got {given!r}")
    return {str(name): {str(k): str(v) for k, v in columns.items()} for name, columns in named.items()}


def _cost(given: Any) -> PrintedCost | None:
    if given is None:
        return None
    known = {each.name for each in fields(PrintedCost)}
    if not isinstance(given, Mapping) or not given.keys() <= known:
        raise DataError(f"report.cost must have some of {', '.join(sorted(known))}, got {given!r}")
    return PrintedCost(**{str(name): str(value) for name, value in given.items()})


def _overlap(given: Any) -> PrintedOverlap | None:
    if given is None:
        return None
    columns = given.get("columns") if isinstance(given, Mapping) else None
    if not isinstance(columns, Mapping) or not given.keys() <= {"columns", "cycle"}:
        raise DataError(f"report.overlap must have columns (our row: column) and maybe a cycle, got {given!r}")
    return PrintedOverlap({str(row): str(column) for row, column in columns.items()}, int(given.get("cycle", 0)))
