"""Tables whose rows repeat for each value of a setting: an imbalance factor, a backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from alpl.report.read.paper import PaperTable, Split, text_of
from alpl.report.read.printed import Printed
from alpl.runs.results import RunResult


def split_runs(runs: Sequence[RunResult], split: Split | None) -> list[RunResult]:
    """Tell the runs of one data set apart by the split's setting: "cifar10_long_tailed, IF=0.1".

    Runs without the setting, or with another value of it, stay under the data set's own name: they are not the
    paper's.
    """
    if split is None:
        return list(runs)
    return [replace(run, data=_named(run.data, split, setting_of(run.config, split.key))) for run in runs]


def setting_of(config: Any, key: str) -> str | None:
    """Give the value of a dotted key as text, numbers in their shortest form; None where there is none.

    >>> setting_of({"data": {"long_tail": {"factor": 1.0}}}, "data.long_tail.factor")
    '1'
    """
    for name in key.split("."):
        if not isinstance(config, Mapping) or name not in config:
            return None
        config = config[name]
    return text_of(config)


def part_of(table: PaperTable, printed: Printed, data: str) -> tuple[PaperTable, Printed]:
    """Give what of a split table is about ``data``, which is named as :func:`split_runs` does.

    Returns:
        The table for that value of the setting alone, and the printed numbers whose row begins with the value's
        label; nothing printed where ``data`` carries no label.
    """
    if table.split is None:
        return table, printed
    label = next((label for label in table.split.values.values() if data.endswith(f", {label}")), None)
    if label is None:  # a value that the table has not
        return replace(table, data=f"{table.data} ({', '.join(table.split.values.values())})"), {}
    rows = {ours: text.format(label) for ours, text in table.rows.items()}
    here = {key: value for key, value in printed.items() if f"{key[0]} ".startswith(f"{label} ")}
    return replace(table, rows=rows, data=f"{table.data}, {label}"), here


def _named(data: str, split: Split, value: str | None) -> str:
    label = split.values.get(value) if value is not None else None
    return data if label is None else f"{data}, {label}"
