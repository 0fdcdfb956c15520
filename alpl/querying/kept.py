"""Another choice from the predictions that a run kept (``keep_predictions=true``)."""

from __future__ import annotations

from pathlib import Path

from alpl.acquisition import AbstractAcquisition, Context, Query
from alpl.errors import ConfigError, DataError
from alpl.labeling.schedule import Amount
from alpl.machine.seeding import undisturbed
from alpl.pool import Pool
from alpl.predictions import Need, Predictions
from alpl.preflight.rehearsal import check_query
from alpl.querying.context import check_all_there
from alpl.querying.select import images_of
from alpl.runs.run_folder import CycleFiles, RunFolder


def select_from_run(
    acquisition: AbstractAcquisition, budget: Amount, run: Path, *, cycle: int | None = None, seed: int = 0
) -> tuple[Query, Pool]:
    """Choose from the predictions of a cycle of a run; nothing is trained or predicted.

    Args:
        acquisition: one that needs no more than these predictions.
        budget: see :func:`alpl.querying.select`.
        run: the run's folder.
        cycle: whose predictions; the last that are there where absent.
        seed: of all draws.

    Returns:
        The query, and the pool that it is of.

    Raises:
        ConfigError: it needs what these predictions do not hold, or the budget exceeds the unlabeled images.
        DataError: there is no such run, or there are no predictions.
    """
    files = _files(run, cycle)
    pool = Pool.load(files.pool)
    images = images_of(budget, pool)
    found = {
        name: Predictions.load(files.predictions(name), memory_map=True).of(index)
        for name, index in (("unlabeled", pool.unlabeled), ("labeled", pool.labeled))
        if files.predictions(name).exists()
    }
    if Need.LABELED in acquisition.needs and "labeled" not in found:
        raise ConfigError(f"{type(acquisition).__name__} needs predictions of labeled images, {run} kept none")
    check_all_there(acquisition, found["unlabeled"], {}, absent="the run kept none; its acquisition did not need them")
    labeled = found["labeled"] if Need.LABELED in acquisition.needs else None
    with undisturbed():
        query = acquisition.select(Context(pool, images, seed, unlabeled=found["unlabeled"], labeled=labeled))
    check_query(query, pool, images, type(acquisition).__name__)
    return query, pool


def pool_of_run(run: Path, cycle: int | None = None) -> Pool:
    """Load the pool that :func:`select_from_run` chooses from.

    Raises:
        DataError: there are no predictions, or it cannot be read.
    """
    return Pool.load(_files(run, cycle).pool)


def _files(run: Path, cycle: int | None) -> CycleFiles:
    if not run.is_dir():  # which RunFolder would create
        raise DataError(f"run must be the folder of a run, there is none at {run}")
    folder = RunFolder(run)
    places = run.glob("cycle_*/predictions/unlabeled") if cycle is None else ()
    numbers = [name for place in places if (name := place.parents[1].name.removeprefix("cycle_")).isdecimal()]
    files = folder.cycle(max(map(int, numbers), default=cycle or 0))
    if not files.predictions("unlabeled").exists():
        raise DataError(f"{files.predictions('unlabeled')} is not there: keep_predictions=true keeps what a query saw")
    return files
