"""The paper's printed numbers."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from alpl.errors import DataError
from alpl.machine.files import reading
from alpl.report.read.paper import PaperTable

COLUMNS = ("row", "column", "mean", "std")
Printed: TypeAlias = Mapping[tuple[str, str], tuple[str, str]]
"""(row, column) -> (mean, std) as printed, in the paper's order."""


def read_printed(path: Path) -> Printed:
    """Read the paper's CSV.

    Raises:
        DataError: it is missing, has other columns, or a mean is no number.
    """
    with reading(path, "the paper's table"), path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise DataError(f"{path} must have the columns {','.join(COLUMNS)}, got {reader.fieldnames}")
        found = {(line["row"], line["column"]): (line["mean"], line["std"] or "") for line in reader}
        for mean, _ in found.values():
            float(mean or "nan")
    return found


def named_by_cycle(table: PaperTable, printed: Printed) -> Printed:
    """Call the paper's columns ``cycle_0``, ``cycle_1`` and so on, less those that are of something else."""
    if not table.cycles:
        others = {column for columns in table.metrics.values() for column in columns.values()}
        others |= table.cost.columns if table.cost else set()
        return {key: value for key, value in printed.items() if key[1] not in others}
    names = {column: f"cycle_{cycle}" for cycle, column in table.cycles.items()}
    return {(row, names[column]): value for (row, column), value in printed.items() if column in names}
