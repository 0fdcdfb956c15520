"""What a run chose, read back: its initial set and the query of each cycle. No torch."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

from alpl.errors import DataError
from alpl.machine.files import read_csv, reading
from alpl.runs.results import RunResult


@final
@dataclass(frozen=True, eq=False)
class Selections:
    """The images that a run chose, as dataset indices.

    Args:
        num_images: all images of the training set.
        initial: labeled before the first query.
        excluded: take no part.
        queries: of cycle 0, 1 and so on, as far as the run came.
    """

    num_images: int
    initial: frozenset[int]
    excluded: frozenset[int]
    queries: tuple[frozenset[int], ...]

    @property
    def num_unlabeled(self) -> int:
        """Images that the first query could choose from."""
        return self.num_images - len(self.initial) - len(self.excluded)

    @cached_property
    def joined(self) -> tuple[frozenset[int], ...]:
        """All queries up to each cycle, joined."""
        return tuple(frozenset().union(*self.queries[: cycle + 1]) for cycle in range(len(self.queries)))


def read_selections(run: RunResult) -> Selections | None:
    """Read them; None where the run has no query yet.

    Raises:
        DataError: ``pool.csv`` of cycle 0 or a ``query.csv`` is broken, empty, or breaks off: run folders of earlier
            versions have no checksums that would tell that.
    """
    queries: list[frozenset[int]] = []
    while (path := run.folder / f"cycle_{len(queries):02d}" / "query.csv").exists():
        queries.append(_query(path))
        _check_whole(path, len(queries[-1]), len(queries) - 1)
    if not queries:
        return None
    path = run.folder / "cycle_00" / "pool.csv"
    num_images = _stated(path, "num_images")
    index, cycle = (_column(path, name, skip=1) for name in ("index", "cycle"))
    labeled = zip(index, cycle, strict=True)
    initial: set[int] = set()
    excluded: set[int] = set()
    for image, since in labeled:
        (initial if since >= 0 else excluded).add(image)
    return Selections(num_images, frozenset(initial), frozenset(excluded), tuple(queries))


def _query(path: Path) -> frozenset[int]:
    """Read a query; a line that breaks off may still be one of numbers, but of others than were chosen."""
    rows = read_csv(path, "a query", "index")
    with reading(path, "a query, a line for each image"):
        if not path.read_bytes().endswith(b"\n"):
            raise ValueError("its last line breaks off")
        found = frozenset(int(row["index"]) for row in rows)
    if not found or len(found) < len(rows):
        raise DataError(f"{path} must hold a query of different images, got {len(found)} in {len(rows)} lines")
    return found


def _check_whole(path: Path, number: int, cycle: int) -> None:
    """Compare a query with the images that were labeled since, where the next cycle has begun."""
    pools = [path.parents[1] / f"cycle_{each:02d}" / "pool.csv" for each in (cycle, cycle + 1)]
    if not all(pool.exists() for pool in pools):
        return
    before, after = (_stated(pool, "num_labeled") for pool in pools)
    if number != after - before:
        raise DataError(f"{path} must hold the {after - before} images that cycle {cycle + 1} has more, got {number}")


def _stated(path: Path, name: str) -> int:
    """Give a number in the first line of a ``pool.csv``."""
    with reading(path, f"{name} in its first line"):
        head = path.read_text(encoding="utf-8").split("\n", 1)[0]
        return int(head.split(f"{name}=")[1].split()[0])


def _column(path: Path, name: str, *, skip: int) -> list[int]:
    with reading(path, f"whole numbers as {name}"), path.open(encoding="utf-8", newline="") as stream:
        for _ in range(skip):
            next(stream)
        return [int(line[name]) for line in csv.DictReader(stream)]
