"""A run's folder: its key, its lock, its journal of finished stages, and the files of each cycle."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from alpl.config.versions import canonical
from alpl.errors import ConfigError, DataError, RunLockedError
from alpl.machine.files import read_object, read_sealed, sealed, whole_file, write_text
from alpl.machine.locks import FileLock
from alpl.runs import artefacts
from alpl.runs.journal import FILE as JOURNAL
from alpl.runs.journal import read_journal


def content_key(content: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits of the SHA-256 of a config, independent of the order of its keys.

    The same for what does the same in an earlier version of alpl: see :mod:`alpl.config.versions`.
    """
    return hashlib.sha256(json.dumps(canonical(content), sort_keys=True).encode()).hexdigest()[:8]


def metrics_table(run: Path, num_cycles: int) -> str:
    """Give the text of ``metrics.csv`` after so many cycles: the scalars of their ``metrics.json``."""
    rows = []
    for cycle in range(num_cycles):
        results = read_object(CycleFiles(run / f"cycle_{cycle:02d}").metrics)
        rows.append({"cycle": cycle} | {n: v for n, v in results.items() if isinstance(v, (int, float))})
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(n for row in rows for n in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def metrics_follow(run: Path, journal: Sequence[Mapping[str, Any]]) -> bool:
    """Whether ``metrics.csv`` is what the cycles' ``metrics.json`` make it; that of earlier versions is believed."""
    tested = sum(entry["stage"] == "test" for entry in journal)
    if not tested or not artefacts.known_files(journal):
        return True
    begun = CycleFiles(run / f"cycle_{tested:02d}").metrics.exists()  # killed before the journal told of it
    path = run / "metrics.csv"
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else None
    return text in {metrics_table(run, number) for number in range(tested, tested + 1 + begun)}


def not_writable(error: OSError, path: Path) -> ConfigError:
    """Say that a folder below ``paths.runs`` cannot be made."""
    return ConfigError(f"paths.runs must be a folder that can be made and written to, got {path}: {error.strerror}")


@final
@dataclass(frozen=True)
class CycleFiles:
    """The files of one cycle; see README.md, "What a run leaves behind"."""

    folder: Path

    @property
    def pool(self) -> Path:
        """Who is labeled when the cycle begins."""
        return self.folder / "pool.csv"

    @property
    def query(self) -> Path:
        """Who was chosen at its end."""
        return self.folder / "query.csv"

    @property
    def metrics(self) -> Path:
        """Test results."""
        return self.folder / "metrics.json"

    @property
    def informativeness(self) -> Path:
        """Utility of every unlabeled image, and whether the model was right on it."""
        return self.folder / "informativeness"

    @property
    def gallery(self) -> Path:
        """Pictures of queried images."""
        return self.folder / "gallery"

    @property
    def embedding(self) -> Path:
        """Features of unlabeled images, the queried ones among them."""
        return self.folder / "embedding"

    @property
    def pseudo_labels(self) -> Path:
        """What the cycle's model was sure of on the images that stay unlabeled: targets of the next cycle."""
        return self.folder / "pseudo_labels.csv"

    @property
    def tasks(self) -> Path:
        """What a person is asked about the query."""
        return self.folder / "tasks.json"

    @property
    def answers(self) -> Path:
        """What was answered to it, when all of it was."""
        return self.folder / "answers.json"

    @property
    def partner(self) -> Path:
        """Trained weights of the partner."""
        return self.folder / "partner.pt"

    @property
    def partner_resume(self) -> Path:
        """The checkpoint of a partner's fit that has not ended."""
        return self.folder / "fit_partner.ckpt"

    @property
    def partner_epochs(self) -> Path:
        """What the partner logged in each epoch."""
        return self.folder / "epochs_partner.csv"

    def candidates(self, number: int) -> Path:
        """Whom a stage of the acquisition left for the next one."""
        return self.folder / ("candidates.csv" if number == 0 else f"candidates_{number}.csv")

    def predictions(self, which: str) -> Path:
        """Predictions of the "unlabeled" or "labeled" images; of a later stage "unlabeled_1" and so on."""
        return self.folder / "predictions" / which

    def model(self, member: int) -> Path:
        """Trained weights of a model: of an ensemble's member, or 0 the only one or the teacher, 1 the student."""
        return self.folder / ("model.pt" if member == 0 else f"model_{member}.pt")

    def resume(self, member: int) -> Path:
        """The checkpoint of a fit that has not ended."""
        return self.folder / f"fit_{member}.ckpt"

    def epochs(self, member: int) -> Path:
        """What the module logged in each epoch."""
        return self.folder / ("epochs.csv" if member == 0 else f"epochs_{member}.csv")


@final
class RunFolder:
    """A run's folder.

    Args:
        path: the folder; made if it is not there.

    Raises:
        ConfigError: it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise not_writable(error, path) from error

    def cycle(self, cycle: int) -> CycleFiles:
        """The files of a cycle."""
        return CycleFiles(self.path / f"cycle_{cycle:02d}")

    @property
    def answers(self) -> Path:
        """All that a person has answered so far."""
        return self.path / "answers.json"

    @property
    def waits_in(self) -> int | None:
        """The cycle whose query was asked about and is not annotated; None where nobody is waited for."""
        journal = self.journal
        last = journal[-1] if journal else {}
        return int(last["cycle"]) if last.get("stage") == "ask" else None

    # --- journal

    @property
    def journal(self) -> list[dict[str, Any]]:
        """One entry a finished stage, in order: ``cycle``, ``stage``, ``seconds``, and its files' checksums.

        Raises:
            DataError: see :func:`alpl.runs.journal.read_journal`.
        """
        return read_journal(self.path / JOURNAL)

    def is_done(self, cycle: int, stage: str) -> bool:
        """Whether a stage is finished."""
        return any(entry.get("cycle") == cycle and entry["stage"] == stage for entry in self.journal)

    @property
    def is_finished(self) -> bool:
        """Whether the whole run is."""
        return any(entry["stage"] == "finished" for entry in self.journal)

    def mark_done(self, entry: Mapping[str, Any]) -> None:
        """Add an entry; its stage's files must be on the disk before."""
        self._write_journal(len(self.journal), json.dumps(sealed(entry)) + "\n")

    def _write_journal(self, num_kept: int, line: str = "") -> None:
        """Keep the first lines, as they are, and maybe add one."""
        path = self.path / JOURNAL
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if num_kept else []
        with whole_file(path) as stream:
            stream.writelines(f"{each}\n" for each in lines[:num_kept])
            stream.write(line)

    def begin_anew(self) -> None:
        """Take all stages for not done; their files are written over."""
        self._write_journal(0)

    def look_over(self) -> str:
        """Make sure that a run which goes on does so from what was written, and from nothing else.

        A stage that lacks a file of its own is undone, with all behind it; ``metrics.csv``, which follows from other
        files, is written again.

        Returns:
            What was undone, and why; empty where nothing was.

        Raises:
            DataError: a file is there and is not what was written.
        """
        journal = self.journal
        artefacts.check(self.path, journal)
        gone: list[str] = []
        # a stage that is undone wants what had served it: its predictions, then the weights that made them
        while (fault := artefacts.first_gone(self.path, journal)) is not None:
            gone.append(str(fault))
            self._undo(journal, fault)
            journal = self.journal
        if num_tested := sum(entry["stage"] == "test" for entry in self.journal):
            self.write_metrics(num_tested)
        else:
            self.remove(self.path / "metrics.csv")
        return f"{'; '.join(gone)}: that stage and all behind it are done again" if gone else ""

    def _undo(self, journal: Sequence[Mapping[str, Any]], fault: artefacts.Fault) -> None:
        left = journal[: fault.number]
        kept = artefacts.known_files(left)
        self._write_journal(len(left))
        for entry in journal[fault.number :]:
            for name in entry.get(artefacts.FILES, ()):
                if name not in kept:
                    self.remove(self.path / name)
        for later in self.path.glob("cycle_*"):
            if int(later.name.removeprefix("cycle_")) > fault.cycle:
                self.remove(later)

    @property
    def is_whole(self) -> bool:
        """Whether all that a report reads is what was written."""
        try:
            read_sealed(self.path / "run.json")
        except DataError:
            return False
        journal = self.journal
        return not any(artefacts.faults(self.path, journal, of_report=True)) and metrics_follow(self.path, journal)

    # --- results

    def write_metrics(self, num_cycles: int) -> None:
        """Collect the scalars of every cycle's ``metrics.json`` in ``metrics.csv``."""
        write_text(self.path / "metrics.csv", metrics_table(self.path, num_cycles))

    def write_error(self, text: str | None) -> None:
        """Keep the trace of a failure, or remove it (None) when the run is taken up again."""
        path = self.path / "error.txt"
        if text is None:
            path.unlink(missing_ok=True)
        else:
            with whole_file(path) as stream:
                stream.write(text)

    def remove(self, path: Path) -> None:
        """Remove a file or folder of the run that has served; nothing where it is gone already."""
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def note_job(self, job: Mapping[str, Any]) -> None:
        """Note that a cluster's job takes up the run: one line of ``slurm.jsonl`` each, for its logs to be found."""
        path = self.path / "slurm.jsonl"
        before = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        with whole_file(path) as stream:
            stream.write(before + json.dumps(dict(job)) + "\n")

    # --- lock

    @contextmanager
    def locked(self) -> Iterator[str | None]:
        """Hold the folder for this process; gives the holder of a stale lock that was taken over, or None.

        Raises:
            RunLockedError: another living process holds it.
            ConfigError: the file system has no locks (Lustre mounted without ``flock``).
        """
        lock = FileLock(self.path / "lock")
        try:
            is_ours = lock.try_acquire()
        except OSError as error:
            raise ConfigError(f"paths.runs must lie where files can be locked ({error}): {self.path}") from error
        if not is_ours:
            raise RunLockedError(f"run folder is in use by {lock.holder or 'another process'}: {self.path}")
        try:
            for leftover in list(self.path.rglob(".*.tmp")):  # of writers that were killed: see alpl/machine/files.py
                self.remove(leftover)
            yield lock.holder or None
        finally:
            lock.release()
