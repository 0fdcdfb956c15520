"""Rows that are another metric of another row's runs: the teacher of a student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from alpl.errors import DataError
from alpl.report.read.aggregate import Variant, primary_metric
from alpl.runs.results import CycleResult


@final
@dataclass(frozen=True)
class MetricRow:
    """One entry of ``report.metric_rows``: our row whose runs it is of, and their metric."""

    row: str
    metric: str


def read_metric_rows(given: Any) -> dict[str, MetricRow]:
    """Read ``report.metric_rows``: its name -> which metric of which row it is.

    Raises:
        DataError: an entry has not just a row and a metric.
    """
    named = {} if given is None else given
    if not isinstance(named, Mapping):
        raise DataError(f"report.metric_rows must map a name to a row and a metric, got {given!r}")
    for name, entry in named.items():
        if not isinstance(entry, Mapping) or set(entry) != {"row", "metric"}:
            raise DataError(f"report.metric_rows.{name} must have a row and a metric, got {entry!r}")
    return {str(name): MetricRow(str(entry["row"]), str(entry["metric"])) for name, entry in named.items()}


def with_metric_rows(
    variants: Sequence[Variant], rows: Mapping[str, MetricRow], named: str | None = None
) -> list[Variant]:
    """Give the variants with the further rows, each behind the one that it is of.

    Args:
        variants: of all data sets.
        rows: the further rows by name.
        named: the table's metric as the experiment names it; in its place the rows have theirs.
    """
    found: list[Variant] = []
    for variant in variants:
        found.append(variant)
        shown = primary_metric([other for other in variants if other.data == variant.data], named)
        for name, one in rows.items():
            if one.row == variant.row and shown is not None and one.metric in variant.metrics:
                runs = tuple(
                    replace(run, row=name, cycles=tuple(_as(shown, one.metric, cycle) for cycle in run.cycles))
                    for run in variant.runs
                )
                found.append(Variant(variant.label.replace(variant.row, name, 1), runs, is_derived=True))
    return found


def _as(shown: str, metric: str, cycle: CycleResult) -> CycleResult:
    """Give the cycle with that metric alone, under the name of the one that is shown."""
    return replace(cycle, metrics={shown: cycle.metrics[metric]} if metric in cycle.metrics else {})
