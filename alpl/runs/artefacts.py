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
from alpl.machine.files import read_object, read_sealed, sha256_of
from alpl.runs.fingerprint import FILE as DATA
from alpl.runs.fingerprint import read_fingerprint

log = logging.getLogger("alpl")

FILES = "files"
"""Of a journal's entry: name below the run's folder -> SHA-256."""

_OF_THE_RUN = ("cost.json",)  # outside of the cycles' folders; metrics.csv follows from the cycles' metrics.json
_NOTES = ("run.json", DATA, "products.json", "answers.json")
_PASSING = re.compile(r"\.ckpt$|(^|/)\.")  # checkpoints of fits at work, which have sums of their own; unfinished files
_READ_BY_REPORT = re.compile(r"\.(csv|json)$|/(informativeness|embedding|gallery)/")


@final
@dataclass(frozen=True)
class Fault:
    """A file that is not what a stage wrote.

    Args:
        name: below the run's folder.
        stage: as the journal calls it.
        cycle: of the stage.
        number: the journal's entry, from 0.
        is_gone: the file is not there; else it holds something else, or cannot be read.
        unread: why it cannot be read; empty where it can.
    """

    name: str
    stage: str
    cycle: int
    number: int
    is_gone: bool
    unread: str = ""

    def __str__(self) -> str:
        what = "is gone" if self.is_gone else "is not what was written"
        what = f"cannot be read: {self.unread}" if self.unread else what
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
    for name, number, is_gone in _told(run, journal):
        entry = journal[number]
        if of_report and not _READ_BY_REPORT.search(name):
            continue
        unread = ""
        try:
            if not is_gone and sha256_of(run / name) == entry[FILES][name]:
                continue
        except OSError as error:  # no rights, a broken disk, or it went away just now: the other runs are read on
            unread = error.strerror or type(error).__name__
        yield Fault(name, str(entry["stage"]), int(entry["cycle"]), number, is_gone, unread)


def broken_notes(run: Path) -> list[str]:
    """Say what of the files with a checksum of their own, which stand beside the cycles' folders, is broken."""
    found = []
    for path in (run / name for name in _NOTES if (run / name).exists()):
        try:
            if path.name == DATA:
                read_fingerprint(run)
            else:
                read_sealed(path)
        except DataError as error:
            found.append(str(error))
    return found


def check(run: Path, journal: Sequence[Mapping[str, Any]], *, of_report: bool = False) -> None:
    """Make sure that nothing but what was written is read.

    Raises:
        DataError: a file has changed, or cannot be read.
    """
    for fault in faults(run, journal, of_report=of_report):
        if fault.unread:
            raise DataError(f"{run / fault.name}, which stage {fault.stage} wrote, cannot be read: {fault.unread}")
        if not fault.is_gone:
            raise DataError(
                f"{run / fault.name} is not what stage {fault.stage} wrote there: delete it, and the same command does "
                "that stage and all behind it again where it is still wanted (alpl-status --check names all such files)"
            )


def first_gone(run: Path, journal: Sequence[Mapping[str, Any]]) -> Fault | None:
    """Give the earliest stage that lacks a file which is still wanted; None where there is none. No file is read."""
    gone = [(number, name) for name, number, is_gone in _told(run, journal) if is_gone]
    if not gone:
        return None
    number, name = min(gone, key=lambda each: each[0])  # of one stage the file that it told first
    return Fault(name, str(journal[number]["stage"]), int(journal[number]["cycle"]), number, is_gone=True)


def _told(run: Path, journal: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, int, bool]]:
    """Give every file that is there or wanted: its name, the last entry that tells of it, and whether it is gone."""
    latest = {name: number for number, entry in enumerate(journal) for name in entry.get(FILES, ())}
    done = {(entry.get("cycle"), entry["stage"]) for entry in journal}
    readers = _Readers.of(run, done)
    for name, number in latest.items():
        try:
            is_gone = not (run / name).is_file()
        except OSError:  # its folder cannot be looked into
            is_gone = False
        if not is_gone or not _has_served(name, int(journal[number]["cycle"]), done, readers):
            yield name, number, is_gone


@final
@dataclass(frozen=True)
class _Readers:
    """Who reads what a cycle's models left when its query is chosen.

    Args:
        fits: those of the next cycle may start from the weights.
        labeler: labels what the models were sure of in their predictions.
    """

    fits: bool
    labeler: bool

    @classmethod
    def of(cls, run: Path, done: Collection[tuple[Any, str]]) -> _Readers:
        """Read them from the run's config; where it does not say, the weights are held to be wanted."""
        try:
            config = read_object(run / "run.json")["config"]
            starts = bool(config["warm_start"]) or config.get("learner") is not None  # a learner says it itself
            return cls(starts, config["pseudo_labels"] is not None)
        except (DataError, AttributeError, KeyError, TypeError):
            return cls(True, any(stage == "pseudo_label" for _, stage in done))


def _has_served(name: str, cycle: int, done: Collection[tuple[Any, str]], readers: _Readers) -> bool:
    """Whether a file may have been removed as nobody reads it any more: see :meth:`alpl.loop.ActiveLearning._tidy`."""
    inside = name.partition("/")[2]
    is_over = (cycle, "pseudo_label" if readers.labeler else "select") in done
    if inside.startswith("predictions/"):
        return is_over
    if not inside.startswith(("model", "partner")) or not inside.endswith(".pt"):
        return False
    return is_over and (not readers.fits or (cycle + 1, "test") in done)
