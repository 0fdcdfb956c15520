"""Where the runs of many jobs lie: composed once where they share their groups, with the same answers."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from alpl.commands import run_names
from alpl.commands.run_names import run_path_of, run_paths_of

JOBS: tuple[list[str], ...] = (
    ["acquisition=random", "seed=0"],
    ["acquisition=random", "seed=1", "model.optimizer.lr=0.1"],
    ["acquisition=random", "seed=1", "num_threads=0"],
    ["acquisition=random", "seed=x"],
    ["acquisition=random", "seed=1", "schedule.budgt=3"],
    ["acquisition=random", "seed=1", "model.optimizer=???"],
    ["acquisition=random", "seed=1", "acquisition._target_=alpl.acquisition.Entropy"],
    ["acquisition=random", "seed=1", "acquisition._target_=alpl.nothing"],
    ["acquisition=random", "seed=1", "row=mine", "table=of/mine", "paths.runs=elsewhere"],
    ["acquisition=random", "seed=1", "+acquisition.unknown=2"],
    ["acquisition=none", "seed=1"],
)


def answer(job: Sequence[str]) -> str:
    try:
        return str(run_path_of(job))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.slow
def test_many_jobs_lie_where_each_does_alone() -> None:
    jobs = [*JOBS, *JOBS[:3]]
    found = list(run_paths_of(jobs))
    told = [str(one) if isinstance(one, Path) else f"{type(one).__name__}: {one}" for one in found]
    assert told == [answer(job) for job in jobs]
    assert sum(isinstance(one, Path) for one in found) == 6  # the refused ones are really refused


def test_jobs_that_differ_in_values_are_composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    composed = []
    compose = run_names.compose_job
    monkeypatch.setattr(run_names, "compose_job", lambda overrides: composed.append(overrides) or compose(overrides))
    jobs = [
        ["hydra.mode=RUN", "acquisition=random", f"seed={seed}", f"schedule.budget={seed + 1}"] for seed in range(5)
    ]
    assert len(set(run_paths_of(jobs))) == 5
    assert composed == [("hydra.mode=RUN", "acquisition=random")]
