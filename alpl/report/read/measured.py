"""What was measured before, on another machine perhaps: ``<table>.measured.csv`` beside the paper's numbers."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from pathlib import Path
from typing import final

from alpl.errors import DataError
from alpl.machine.files import reading


@final
@dataclass(frozen=True)
class Measured:
    """One number of ours, with what it was measured on; all as written.

    Args:
        row: the paper's name of the row.
        column: the paper's name of the column.
        mean: in the paper's unit.
        std: over the seeds; "" for one.
        seeds: runs behind it.
        device: that trained, and chose.
        precision: Lightning's name of it.
        commit: of alpl.
        seconds: of all stages of a run.
    """

    row: str
    column: str
    mean: str
    std: str
    seeds: str
    device: str
    precision: str
    commit: str
    seconds: str


COLUMNS = tuple(field.name for field in fields(Measured))


def measured_path(paper: Path) -> Path:
    """Give where they lie, from where the paper's numbers do.

    >>> measured_path(Path("thesis/table3_1.paper.csv")).as_posix()
    'thesis/table3_1.measured.csv'
    """
    return paper.with_name(f"{paper.name.removesuffix('.csv').removesuffix('.paper')}.measured.csv")


def read_measured(path: Path) -> list[Measured]:
    """Read them; none where there is no such file.

    Raises:
        DataError: it has other columns, or a mean or the seconds are no number.
    """
    if not path.exists():
        return []
    with reading(path, "numbers that were measured"), path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise DataError(f"{path} must have the columns {','.join(COLUMNS)}, got {reader.fieldnames}")
        found = [Measured(**{name: line[name] or "" for name in COLUMNS}) for line in reader]
        for each in found:
            float(each.mean), float(each.seconds), int(each.seeds)
    return found
