"""What another run chose: its folder, its pools and queries, and an initial set of them.

A set of images that one network chose may so train another one (Choi et al. 2021, AL-MDN, Table 7 and Fig. 4).
"""

from __future__ import annotations

from pathlib import Path
from typing import final

import torch

from alpl.acquisition.base import Query
from alpl.errors import ConfigError, DataError
from alpl.labeling.schedule import AbstractInitialSet, Candidates
from alpl.machine.files import read_object
from alpl.pool import EXCLUDED, Index, Pool
from alpl.runs import artefacts
from alpl.runs.run_folder import CycleFiles, RunFolder


@final
class RecordedRun:
    """A run by its names, in a folder of runs.

    Args:
        runs: the folder, ``paths.runs``.
        table: of the run.
        row: of the run.
        seed: of the run.
        run: pattern of its folder's name, such as "voc07-*", where others of that seed lie beside it (a trial, say).

    Raises:
        ConfigError: there is no such run, there are several, or it is broken.
    """

    def __init__(self, runs: str, table: str, row: str, seed: int, run: str = "*") -> None:
        place = Path(runs) / table / row
        found = sorted(path.parent for path in place.glob(f"{run}/run.json") if _seed_of(path) == seed)
        if len(found) != 1:
            names = ", ".join(path.name for path in found) or "none"
            hint = f"; name one by run, e.g. run={found[0].name}" if found else ""
            raise ConfigError(f"{place} must hold one run of seed {seed}, the one that is followed, got {names}{hint}")
        self.folder = RunFolder(found[0])
        try:
            artefacts.check(found[0], self.folder.journal, of_report=True)
        except DataError as error:
            raise ConfigError(f"the run that is followed is broken: {error}") from error

    def pool(self, cycle: int) -> Pool:
        """Who was labeled when a cycle began.

        Raises:
            ConfigError: the run has not come so far, or its file is broken.
        """
        try:
            return Pool.load(self._file(self._cycle(cycle).pool, cycle))
        except DataError as error:
            raise ConfigError(f"the run that is followed is broken: {error}") from error

    def query(self, cycle: int) -> Query:
        """Who was chosen at the end of a cycle.

        Raises:
            ConfigError: the run has not come so far, or its file is broken.
        """
        path = self._file(self._cycle(cycle).query, cycle)
        try:
            return Query.load(path)
        except DataError as error:
            raise ConfigError(f"the run that is followed is broken: {error}") from error

    def last_cycle(self) -> int:
        """The number of the last cycle.

        Raises:
            ConfigError: the run is not finished.
        """
        if not self.folder.is_finished:
            raise ConfigError(f"the run that is followed must be finished, {self.folder.path} is not")
        return max(int(entry["cycle"]) for entry in self.folder.journal if "cycle" in entry)

    def _cycle(self, cycle: int) -> CycleFiles:
        return CycleFiles(self.folder.path / f"cycle_{cycle:02d}")

    def _file(self, path: Path, cycle: int) -> Path:
        if not path.exists():
            raise ConfigError(f"the run that is followed has no {path.name} of cycle {cycle}: {path}")
        return path


@final
class RecordedInitial(AbstractInitialSet):
    """All images that another run had labeled in one of its cycles.

    Args:
        runs: see :class:`RecordedRun`.
        table: see there.
        row: see there.
        seed: see there.
        cycle: of that run; null for its last one.
        run: see :class:`RecordedRun`.
    """

    def __init__(self, runs: str, table: str, row: str, seed: int, cycle: int | None = None, run: str = "*") -> None:
        self.run = RecordedRun(runs, table, row, seed, run)
        self.cycle = cycle

    def draw(self, candidates: Candidates) -> Index:
        """Read; see the class.

        Raises:
            ConfigError: the run is of other data, has not come so far, or (for its last cycle) is not finished.
        """
        pool = self.run.pool(self.run.last_cycle() if self.cycle is None else self.cycle)
        taking_part = (pool.cycle != EXCLUDED).nonzero().flatten()
        if not torch.equal(taking_part, candidates.index.sort().values):
            raise ConfigError(
                f"the run that is followed must be of the same images, {self.run.folder.path} is of "
                f"{len(taking_part)}, here {len(candidates.index)} take part"
            )
        return pool.labeled


def _seed_of(path: Path) -> int | None:
    try:
        seed = read_object(path)["seed"]
    except (DataError, KeyError):
        return None
    return seed if isinstance(seed, int) else None
