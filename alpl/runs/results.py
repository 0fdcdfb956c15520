"""Run folders read back without torch: what was run, how far it came, what it measured.

Axes: U unlabeled images, b images of a query.
"""

from __future__ import annotations

import csv
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

import numpy as np

from alpl.config.versions import upgraded
from alpl.errors import ConfigError, DataError
from alpl.machine.files import read_array, read_csv, read_object, read_sealed, reading
from alpl.runs import artefacts
from alpl.runs.fingerprint import Fingerprint, read_fingerprint
from alpl.runs.journal import FILE as JOURNAL
from alpl.runs.journal import read_journal
from alpl.runs.labor import Labor, labors
from alpl.runs.network_cost import FILE, NetworkCost
from alpl.runs.run_folder import metrics_follow
from alpl.runs.throughput import StageThroughput, throughputs

Status: TypeAlias = Literal["finished", "unfinished", "failed"]
PER_CLASS = "test/map_per_class"
CLASS_COUNTS = "class_counts"
DIFFICULTY = "difficulty.csv"

log = logging.getLogger(__name__)


@final
@dataclass(frozen=True, eq=False)
class Informativeness:
    """What the model knew about the unlabeled images before a query.

    Args:
        correct: ``Bool[U]`` whether the model was right on each image.
        chosen: ``Long[b]`` positions in U of the queried images, in order of choice.
        utility: ``Float64[U]``; None for set methods, which give no image a value of its own.
    """

    correct: np.ndarray
    chosen: np.ndarray
    utility: np.ndarray | None = None

    @classmethod
    def load(cls, folder: Path) -> Informativeness:
        """Read the arrays of one cycle.

        Raises:
            DataError: an array is missing, is no plain array, or does not fit the others.
        """
        correct, chosen = read_array(folder / "correct.npy"), read_array(folder / "chosen.npy")
        utility = read_array(folder / "utility.npy") if (folder / "utility.npy").exists() else None
        if correct.dtype != np.bool_ or correct.ndim != 1:
            raise DataError(f"{folder}/correct.npy must be Bool[U], got {_shown(correct)}")
        if chosen.ndim != 1 or chosen.dtype.kind != "i" or not _are_positions(chosen, len(correct)):
            what = f"different positions in [0, {len(correct)})"
            raise DataError(f"{folder}/chosen.npy must be {what}, got {_shown(chosen)}")
        if utility is not None and not _are_values(utility, len(correct)):
            raise DataError(f"{folder}/utility.npy must be finite Float[{len(correct)}], got {_shown(utility)}")
        return cls(correct, chosen, utility)


@final
@dataclass(frozen=True)
class CycleResult:
    """One row of ``metrics.csv``: the scalars that a finished cycle measured.

    Args:
        cycle: the cycle.
        num_labeled: images that were labeled.
        metrics: the measured values by name.
        counts: the other columns called ``num_...``: pseudo-labels and the objects that were labeled.
    """

    cycle: int
    num_labeled: int
    metrics: Mapping[str, float]
    counts: Mapping[str, int] = field(default_factory=dict)


@final
@dataclass(frozen=True, eq=False)
class RunResult:
    """One run folder.

    Args:
        folder: where it lies.
        table: the table or sweep that it belongs to.
        row: which row of that table.
        data: the data set's name.
        seed: its seed.
        key: hash of the content config.
        variant: hash of the content config without the seed: equal over the seeds of one row.
        num_cycles: cycles that the config asks for.
        config: the content config, nested.
        report: what the experiment says about the paper's table, if anything.
        status: finished, unfinished (running or killed) or failed.
        error: the last line of ``error.txt`` if it failed.
        cycles: the finished cycles, ascending.
        seconds: (cycle, stage) -> seconds.
        environment: versions, device, git commit.
        is_all_labeled: it has one cycle and trains on every image that takes part.
        classes: names of the K classes; empty where the run does not say.
        planned: what the experiment's own sweep varies: ``{"method": ("random", ...), "seed": ("0", ...)}``.
        changes: what the command line changed of the experiment's setting; None where the run does not say.
        fingerprint: of its data; None where it has not noted that.
        labor: cycle of a query -> what a person did to answer it; nothing in simulated runs.
        throughput: (cycle, stage) -> images a second, of fits and predictions; of later versions of alpl only.
        network_cost: parameters and forward seconds; None where they are not measured (yet).
    """

    folder: Path
    table: str
    row: str
    data: str
    seed: int
    key: str
    variant: str
    num_cycles: int
    config: Mapping[str, Any]
    report: Mapping[str, Any] | None
    status: Status
    error: str | None
    cycles: tuple[CycleResult, ...]
    seconds: Mapping[tuple[int, str], float]
    environment: Mapping[str, Any]
    is_all_labeled: bool
    classes: tuple[str, ...] = ()
    planned: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    changes: tuple[str, ...] | None = None
    fingerprint: Fingerprint | None = None
    network_cost: NetworkCost | None = None
    throughput: Mapping[tuple[int, str], StageThroughput] = field(default_factory=dict)
    labor: Mapping[int, Labor] = field(default_factory=dict)

    @property
    def gallery_cycles(self) -> tuple[int, ...]:
        """The cycles that recorded a gallery of their query, ascending; see :meth:`gallery_folder`."""
        return self._cycles_with("gallery/gallery.json")

    def gallery_folder(self, cycle: int) -> Path:
        """Where the gallery of a cycle lies."""
        return self._cycle_folder(cycle) / "gallery"

    def per_class(self, cycle: int) -> tuple[float | None, ...]:
        """Average precision of each class after a cycle; None for a class without objects, empty where none is told.

        Raises:
            DataError: ``metrics.json`` of the cycle is broken.
        """
        path = self._cycle_folder(cycle) / "metrics.json"
        with reading(path, f"a list of numbers and nulls as {PER_CLASS}"):
            values = read_object(path).get(PER_CLASS, []) if path.exists() else []
            return tuple(None if value is None else float(value) for value in values)

    def class_counts(self, cycle: int) -> tuple[int, ...]:
        """What is labeled of each class in a cycle: images, or objects in detection; empty where it is not told.

        Raises:
            DataError: ``metrics.json`` of the cycle is broken.
        """
        path = self._cycle_folder(cycle) / "metrics.json"
        with reading(path, f"a list of whole numbers as {CLASS_COUNTS}"):
            return tuple(int(value) for value in read_object(path).get(CLASS_COUNTS, [])) if path.exists() else ()

    def difficulty(self, cycle: int) -> tuple[float, ...]:
        """How hard each class was at the end of a cycle's training, in [0, 1]; empty where nothing watched it.

        Raises:
            DataError: ``difficulty.csv`` of the cycle is broken.
        """
        path, what = self._cycle_folder(cycle) / DIFFICULTY, "the classes' difficulties"
        if not path.exists():
            return ()
        rows = read_csv(path, what, "difficulty")
        with reading(path, what):
            return tuple(float(row["difficulty"]) for row in rows)

    @property
    def informative_cycles(self) -> tuple[int, ...]:
        """The cycles that recorded an :class:`Informativeness`, ascending."""
        return self._cycles_with("informativeness")

    def informativeness(self, cycle: int) -> Informativeness:
        """Read one of :attr:`informative_cycles`.

        Raises:
            DataError: see :meth:`Informativeness.load`.
        """
        return Informativeness.load(self._cycle_folder(cycle) / "informativeness")

    @property
    def initial_pool(self) -> str | None:
        """The text of ``pool.csv`` of cycle 0, equal for runs that began with the same labels; None where it lacks."""
        return _text(self._cycle_folder(0) / "pool.csv")

    @property
    def dates(self) -> tuple[str, str] | None:
        """First and last day of ``run.log`` (``2026-01-31``, local time); None where it tells none."""
        days = re.findall(r"^\d{4}-\d\d-\d\d", _text(self.folder / "run.log") or "", re.MULTILINE)
        return (days[0], days[-1]) if days else None

    def _cycle_folder(self, cycle: int) -> Path:
        return self.folder / f"cycle_{cycle:02d}"

    def _cycles_with(self, name: str) -> tuple[int, ...]:
        folders = (path.name for path in self.folder.glob("cycle_*") if (path / name).exists())
        numbers = (folder.removeprefix("cycle_") for folder in folders)
        return tuple(sorted(int(number) for number in numbers if number.isdecimal()))


def find_runs(paths: Iterable[Path | str]) -> list[RunResult]:
    """Read every run folder at or under ``paths``, in the order table, data, row, seed.

    A run that lies there twice (a copied folder) is given once: the copy that came farthest. A ``run.json``
    that cannot be read is skipped with a warning.

    Raises:
        ConfigError: a path is not an existing folder.
    """
    best: dict[tuple[str, str, str, str], RunResult] = {}
    for folder in dict.fromkeys(folder.resolve() for path in paths for folder in _run_folders(Path(path))):
        try:
            run = read_run(folder)
        except DataError as error:
            log.warning("skipped: %s", error)
            continue
        identity = (run.table, run.data, run.row, run.key)
        if identity not in best or _progress(run) > _progress(best[identity]):
            best[identity] = run
    return sorted(best.values(), key=lambda run: (run.table, run.data, run.row, run.seed, run.key))


def read_run(folder: Path) -> RunResult:
    """Read one run folder, however far it came.

    Raises:
        DataError: ``run.json`` is missing, broken, or lacks a field; the journal is broken; or a file that is read has
            changed since it was written, or cannot be read.
    """
    path = folder / "run.json"
    with reading(path, "table, row, data, seed, key, variant, num_cycles and config"):
        about = read_sealed(path)
        names = {name: str(about[name]) for name in ("table", "row", "data", "key", "variant")}
        seed, num_cycles = int(about["seed"]), int(about["num_cycles"])
        config, report = upgraded(about["config"]), dict(about["report"]) if about.get("report") else None
        classes = tuple(str(name) for name in about.get("classes") or ())
        planned = {str(name): tuple(map(str, values)) for name, values in (about.get("planned") or {}).items()}
        changes = None if about.get("changes") is None else tuple(str(change) for change in about["changes"])
    journal = read_journal(folder / JOURNAL)
    artefacts.check(folder, journal, of_report=True)
    path = folder / "metrics.csv"
    with reading(path, "the scalars of the cycles' metrics.json"):
        follows = metrics_follow(folder, journal)
    if not follows:
        raise DataError(f"{path} is not what the cycles' metrics.json make it: the same command writes it again")
    status, error_line = _status(folder, journal)
    return RunResult(
        folder=folder,
        **names,
        seed=seed,
        num_cycles=num_cycles,
        config=config,
        report=report,
        status=status,
        error=error_line,
        cycles=_cycles(folder / "metrics.csv"),
        seconds={
            (entry["cycle"], entry["stage"]): float(entry["seconds"])
            for entry in journal
            if {"cycle", "stage", "seconds"} <= entry.keys()
        },
        environment=_environment(folder / "environment.json"),
        is_all_labeled=num_cycles == 1 and _all_labeled(folder / "cycle_00" / "pool.csv"),
        classes=classes,
        planned=planned,
        changes=changes,
        fingerprint=_fingerprint(folder),
        network_cost=_network_cost(folder / FILE),
        throughput=throughputs(journal),
        labor=labors(journal),
    )


def _run_folders(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        raise ConfigError(f"runs must be an existing folder, got {path}")
    for folder, children, files in os.walk(path):
        # a hidden folder is one that is still being written; below a run folder lie only its cycles
        is_run = "run.json" in files
        children[:] = [] if is_run else sorted(name for name in children if not name.startswith("."))
        if is_run:
            yield Path(folder)


def _progress(run: RunResult) -> tuple[bool, int]:
    return run.status == "finished", len(run.cycles)


def _status(folder: Path, journal: list[dict[str, Any]]) -> tuple[Status, str | None]:
    if any(entry.get("stage") == "finished" for entry in journal):
        return "finished", None
    path = folder / "error.txt"
    return ("failed", last_line(path)) if path.exists() else ("unfinished", None)


def last_line(path: Path) -> str:
    """Give the last line of a run's ``error.txt``."""
    lines = (_text(path) or "").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no message")


def _text(path: Path) -> str | None:
    """Read what a report can do without; None where there is no file, or it cannot be read, which is told."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("skipped %s: %s", path, error.strerror)
        return None


def _cycles(path: Path) -> tuple[CycleResult, ...]:
    if not path.exists():
        return ()
    found: dict[int, CycleResult] = {}
    with reading(path, "a row of numbers a cycle"), path.open(encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream, restval=""):
            line.pop(None, None)  # csv keeps surplus fields under None
            try:
                values = {name: float(text) for name, text in line.items() if text != ""}
                cycle, num_labeled = int(values.pop("cycle")), int(values.pop("num_labeled"))
                counts = {name: int(values.pop(name)) for name in list(values) if name.startswith("num_")}
            except (KeyError, OverflowError, ValueError) as error:
                log.warning("skipped a line of %s: %s: %s", path, type(error).__name__, error)
                continue
            found[cycle] = CycleResult(cycle, num_labeled, values, counts)
    return tuple(found[cycle] for cycle in sorted(found))


def _environment(path: Path) -> dict[str, Any]:
    try:
        return read_object(path)
    except DataError:
        return {}  # a run that failed early may have none


def _fingerprint(folder: Path) -> Fingerprint | None:
    """Read which data a run is of; a broken file is told and left out: the results are whole without it."""
    try:
        return read_fingerprint(folder)
    except DataError as error:
        log.warning("skipped: %s", error)
        return None


def _network_cost(path: Path) -> NetworkCost | None:
    """Read the cost; a broken file is told and left out, as nothing else of the run depends on it."""
    try:
        return NetworkCost.load(path) if path.exists() else None
    except DataError as error:
        log.warning("skipped: %s", error)
        return None


def _all_labeled(path: Path) -> bool:
    """Whether ``pool.csv`` (see alpl/pool.py) leaves no image unlabeled; -2 marks those that take no part."""
    try:
        head, *lines = path.read_text(encoding="utf-8").splitlines()
        counts = dict(part.split("=") for part in head.lstrip("# ").split())
        excluded = sum(line.endswith(",-2") for line in lines)
        return int(counts["num_labeled"]) + excluded == int(counts["num_images"])
    except (OSError, KeyError, ValueError):
        return False


def _are_positions(chosen: np.ndarray, total: int) -> bool:
    inside = bool(((chosen >= 0) & (chosen < total)).all())
    return inside and len(np.unique(chosen)) == len(chosen)


def _are_values(utility: np.ndarray, total: int) -> bool:
    return utility.shape == (total,) and utility.dtype.kind == "f" and bool(np.isfinite(utility).all())


def _shown(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}: {array.ravel()[:5].tolist()}"
