"""What each stage of a run wrote: a checksum of every file stands in the stage's line of the journal.

A file that has changed since is named, and nothing goes on from it; a stage whose file is gone is undone.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from alpl.errors import DataError
from alpl.machine.files import read_sealed, sha256_of

log = logging.getLogger("alpl")

FILES = "files"
"""Of a journal's entry: name below the run's folder -> SHA-256."""

_OF_THE_RUN = ("cost.json",)  # outside of the cycles' folders; metrics.csv follows from the cycles' metrics.json
_NOTES = ("run.json", "data.json", "products.json")
_PASSING = re.compile(r"\.ckpt$|(^|/)\.")  # checkpoints of fits at work, which have sums of their own; unfinished files
_READ_BY_REPORT = re.compile(r"\.(csv|json)$|/informativeness/")


@final
@dataclass(frozen=True)
class Fault:
    """A file that is not what a stage wrote.

    Args:
        name: below the run's folder.
        stage: as the journal calls it.
        cycle: of the stage.
        number: the journal's entry, from 0.
        is_gone: the file is not there; else it holds something else.
    """

    name: str
    stage: str
    cycle: int
    number: int
    is_gone: bool

    def __str__(self) -> str:
        what = "is gone" if self.is_gone else "is not what was written"
        return f"{self.name} {what} (cycle {self.cycle + 1}, stage {self.stage})"


def stamps(run: Path, cycle_folder: Path) -> dict[str, tuple[int, int]]:
    """Give time stamp and size of every file that a stage of a cycle may write."""
    paths = [*cycle_folder.rglob("*"), *(run / name for name in _OF_THE_RUN)]
    names = {path.relative_to(run).as_posix(): path for path in paths if path.is_file()}
    kept = {name: path.stat() for name, path in names.items() if not _PASSING.search(name)}
    return {name: (stat.st_mtime_ns, stat.st_size) for name, stat in kept.items()}


def sums_of_new(run: Path, cycle_folder: Path, before: Mapping[str, Any], known: Collection[str]) -> dict[str, str]:
    """Give the checksums of what was written since ``before``, and of what no stage has told yet (the pool)."""
    now = stamps(run, cycle_folder)
    new = [name for name, stamp in now.items() if before.get(name) != stamp or name not in known]
    return {name: sha256_of(run / name) for name in sorted(new)}


def known_files(journal: Iterable[Mapping[str, Any]]) -> set[str]:
    """Name all files that a journal tells of."""
    return {name for entry in journal for name in entry.get(FILES, ())}


def faults(run: Path, journal: Sequence[Mapping[str, Any]], *, of_report: bool = False) -> Iterator[Fault]:
    """Compare a run's files with its journal, in the order in which they were written.

    Args:
        run: the folder.
        journal: its entries; those of earlier versions have no checksums.
        of_report: look at the files that a report reads, and at those alone.
    """
    latest = {name: number for number, entry in enumerate(journal) for name in entry.get(FILES, ())}
    done = {(entry.get("cycle"), entry["stage"]) for entry in journal}
    for name, number in latest.items():
        entry = journal[number]
        if of_report and not _READ_BY_REPORT.search(name):
            continue
        path = run / name
        is_gone = not path.is_file()
        if is_gone and _has_served(name, int(entry["cycle"]), done):
            continue
        if is_gone or sha256_of(path) != entry[FILES][name]:
            yield Fault(name, str(entry["stage"]), int(entry["cycle"]), number, is_gone)


def broken_notes(run: Path) -> list[str]:
    """Say what of the files with a checksum of their own, which stand beside the cycles' folders, is broken."""
    found = []
    for path in (run / name for name in _NOTES if (run / name).exists()):
        try:
            read_sealed(path)
        except DataError as error:
            found.append(str(error))
    return found


def check(run: Path, journal: Sequence[Mapping[str, Any]], *, of_report: bool = False) -> None:
    """Make sure that nothing but what was written is read.

    Raises:
        DataError: a file has changed.
    """
    for fault in faults(run, journal, of_report=of_report):
        if not fault.is_gone:
            raise DataError(
                f"{run / fault.name} is not what stage {fault.stage} wrote there: delete it, and the same command does "
                "that stage and all behind it again (alpl-status --check names all such files)"
            )


def first_gone(run: Path, journal: Sequence[Mapping[str, Any]]) -> Fault | None:
    """Give the earliest stage that lacks a file which is still wanted; None where there is none."""
    return min((fault for fault in faults(run, journal) if fault.is_gone), key=lambda fault: fault.number, default=None)


def _has_served(name: str, cycle: int, done: Collection[tuple[Any, str]]) -> bool:
    """Whether a file may have been removed as nobody reads it any more: see :meth:`alpl.loop.ActiveLearning._tidy`."""
    inside = name.partition("/")[2]
    if inside.startswith("predictions/"):
        return (cycle, "select") in done
    return inside.startswith(("model", "partner")) and inside.endswith(".pt") and (cycle + 1, "test") in done
