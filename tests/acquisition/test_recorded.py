"""What another run chose: found by its names, followed by a replay, trained on as an initial set."""

import shutil
from pathlib import Path

import pytest
import torch
from command import TINY, alpl

from alpl.acquisition import Context, Replay
from alpl.acquisition.recorded import RecordedInitial, RecordedRun
from alpl.errors import ConfigError
from alpl.labeling.schedule import Candidates
from alpl.pool import Pool

NAMES = ("digits", "least_confidence", 0)  # table, row, seed


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    result = alpl(runs, "acquisition=least_confidence", "seed=0", *TINY)
    assert result.status == 0, result.err
    return runs


@pytest.fixture
def runs(finished: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(finished, tmp_path / "runs")


def folder_of(runs: Path) -> Path:
    (path,) = (runs / "digits" / "least_confidence").iterdir()
    return path


def context(pool: Pool, budget: int) -> Context:
    return Context(pool=pool, budget=budget, seed=5)


def test_a_replay_gives_the_recorded_query(finished: Path) -> None:
    run = RecordedRun(str(finished), *NAMES)
    pool, query = run.pool(0), run.query(0)
    found = Replay(str(finished), *NAMES).select(context(pool, len(query.index)))
    assert torch.equal(found.index, query.index) and torch.equal(found.utility, query.utility)
    assert torch.equal(pool.reveal(found.index).cycle, run.pool(1).cycle)


def test_a_replay_refuses_another_pool_or_budget(finished: Path) -> None:
    replay, pool = Replay(str(finished), *NAMES), RecordedRun(str(finished), *NAMES).pool(0)
    budget = len(RecordedRun(str(finished), *NAMES).query(0).index)
    with pytest.raises(ConfigError, match=f"schedule.budget must be {budget}, as in .*, got 3"):
        replay.select(context(pool, 3))
    with pytest.raises(ConfigError, match=r"must be of the same images, .* is of .*, here are 9"):
        replay.select(context(Pool.create(9, torch.tensor([1])), budget))
    cycle = pool.cycle.clone()
    cycle[pool.labeled[0]], cycle[pool.unlabeled[0]] = -1, 0
    with pytest.raises(ConfigError, match=r"must have the same images labeled in cycle 0, .*: 2 images differ"):
        replay.select(context(Pool(cycle), budget))
    ended = RecordedRun(str(finished), *NAMES).pool(1)
    with pytest.raises(ConfigError, match=r"has no query.csv of cycle 1: "):
        replay.select(context(ended, budget))


def test_the_initial_set_is_what_was_labeled(finished: Path) -> None:
    pool = RecordedRun(str(finished), *NAMES).pool(1)
    candidates = Candidates(torch.arange(pool.num_images))
    last, first = RecordedInitial(str(finished), *NAMES), RecordedInitial(str(finished), *NAMES, cycle=0)
    assert torch.equal(last.draw(candidates), pool.labeled)
    assert torch.equal(first.draw(candidates), (pool.cycle == 0).nonzero().flatten())
    with pytest.raises(ConfigError, match=r"must be of the same images, .* here 4 take part"):
        last.draw(Candidates(torch.arange(4)))
    with pytest.raises(ConfigError, match=r"has no pool.csv of cycle 7"):
        RecordedInitial(str(finished), *NAMES, cycle=7).draw(candidates)


def test_the_run_must_be_there_once(runs: Path) -> None:
    for names in (("digits", "entropy", 0), ("digits", "least_confidence", 1), ("cifar10", "least_confidence", 0)):
        with pytest.raises(ConfigError, match=f"must hold one run of seed {names[2]}, .*, got none"):
            RecordedRun(str(runs), *names)
    shutil.copytree(folder_of(runs), runs / "digits" / "least_confidence" / "again")
    with pytest.raises(
        ConfigError, match=r"must hold one run of seed 0, .*, got again, digits-seed0-.*; name one by run"
    ):
        RecordedRun(str(runs), *NAMES)
    assert RecordedRun(str(runs), *NAMES, run="ag*").folder.path.name == "again"
    assert Replay(str(runs), *NAMES, run="digits-*").run.folder.path.name.startswith("digits-seed0-")
    assert RecordedInitial(str(runs), *NAMES, run="again").run.folder.path.name == "again"
    with pytest.raises(ConfigError, match=r"got none$"):
        RecordedRun(str(runs), *NAMES, run="voc07-*")


def test_a_broken_or_unfinished_run_is_refused(runs: Path) -> None:
    run = RecordedRun(str(runs), *NAMES)
    query, pool = (run.folder.path / "cycle_00" / name for name in ("query.csv", "pool.csv"))
    bought, labeled = query.read_text(), pool.read_text()
    query.write_text("rank,index,utility\n0,x,1\n")
    with pytest.raises(ConfigError, match=r"the run that is followed is broken: .*query.csv"):
        run.query(0)
    query.write_text(bought.replace(",", ",1", 3))
    with pytest.raises(ConfigError, match=r"the run that is followed is broken: .*query.csv is not what stage select"):
        RecordedRun(str(runs), *NAMES)
    query.write_text(bought)
    pool.write_text("index\n")
    with pytest.raises(ConfigError, match=r"the run that is followed is broken: .*pool.csv"):
        run.pool(0)
    pool.write_text(labeled)
    journal = run.folder.path / "journal.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ConfigError, match=r"the run that is followed must be finished"):
        RecordedInitial(str(runs), *NAMES).draw(Candidates(torch.arange(3)))


@pytest.mark.slow
def test_a_replaying_run_waits_for_the_other_and_goes_on(runs: Path) -> None:
    """It buys what the other one bought, cycle by cycle; where that is not there yet, the command goes on later."""
    query = folder_of(runs) / "cycle_00" / "query.csv"
    bought = query.read_text()
    query.unlink()
    follow = ("acquisition=replay", "acquisition.table=digits", "acquisition.row=least_confidence", "seed=0", *TINY)
    result = alpl(runs, *follow)
    assert result.status == 2 and "has no query.csv of cycle 0" in result.err
    query.write_text(bought)
    assert alpl(runs, *follow).status == 0
    (folder,) = (runs / "digits" / "replay").iterdir()
    assert (folder / "cycle_00" / "query.csv").read_text() == bought
    stages = [line for line in (folder / "journal.jsonl").read_text().splitlines() if '"fit"' in line]
    assert len(stages) == 2  # the first was not repeated


def test_a_run_that_follows_none_ends_before_training(runs: Path) -> None:
    result = alpl(runs, "acquisition=replay", "acquisition.table=digits", "acquisition.row=bald", *TINY)
    assert result.status == 2 and "must hold one run of seed 0" in result.err


def test_one_training_on_the_recorded_set(runs: Path) -> None:
    settings = ("schedule=recorded", "schedule.initial.table=digits", "schedule.initial.row=least_confidence")
    result = alpl(runs, *settings, "row=transfer", "trainer.max_epochs=2")
    assert result.status == 0, result.err
    (folder,) = (runs / "digits" / "transfer").iterdir()
    expected = Pool.load(folder_of(runs) / "cycle_01" / "pool.csv").labeled
    assert torch.equal(Pool.load(folder / "cycle_00" / "pool.csv").labeled, expected)
