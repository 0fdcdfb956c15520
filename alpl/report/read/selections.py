"""What a run chose, read back: its initial set and the query of each cycle. No torch."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

from alpl.errors import DataError
from alpl.machine.files import reading
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
        DataError: ``pool.csv`` of cycle 0 or a ``query.csv`` is broken or empty.
    """
    queries: list[frozenset[int]] = []
    while (path := run.folder / f"cycle_{len(queries):02d}" / "query.csv").exists():
        queries.append(frozenset(_column(path, "index", skip=0)))
        if not queries[-1]:
            raise DataError(f"{path} must hold a query, got none")
    if not queries:
        return None
    path = run.folder / "cycle_00" / "pool.csv"
    with reading(path, "the number of images in its first line"):
        head = path.read_text(encoding="utf-8").split("\n", 1)[0]
        num_images = int(head.split("num_images=")[1].split()[0])
    index, cycle = (_column(path, name, skip=1) for name in ("index", "cycle"))
    labeled = zip(index, cycle, strict=True)
    initial: set[int] = set()
    excluded: set[int] = set()
    for image, since in labeled:
        (initial if since >= 0 else excluded).add(image)
    return Selections(num_images, frozenset(initial), frozenset(excluded), tuple(queries))


def _column(path: Path, name: str, *, skip: int) -> list[int]:
    with reading(path, f"whole numbers as {name}"), path.open(encoding="utf-8", newline="") as stream:
        for _ in range(skip):
            next(stream)
        return [int(line[name]) for line in csv.DictReader(stream)]
