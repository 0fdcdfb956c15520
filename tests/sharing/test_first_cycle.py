"""Rows that train alike in their first cycle train it once, and what they leave is what each would have left alone."""

import json
import os
import shutil
import time
from pathlib import Path
from unittest import mock

import pytest
from command import TINY, alpl
from shared_runs import contents, journal, row, taken

from alpl.errors import ConfigError, DataError
from alpl.machine.files import read_sealed, write_sealed
from alpl.machine.interruption import Interrupted
from alpl.runs.products import Products
from alpl.runs.run_folder import RunFolder
from alpl.runs.stages import Stages
from alpl.sharing import first_cycle
from alpl.sharing.first_cycle import USED, FirstCycle

ONE = ("trainer.max_epochs=1", "schedule.cycles=0", "num_threads=1")


def both(folder: Path, names: list[str], *overrides: str) -> tuple[Path, Path]:
    """Run rows with shared first cycles, and each by itself."""
    for name in names:
        for runs, share in (("on", "true"), ("off", "false")):
            result = alpl(folder / runs, *TINY, f"acquisition={name}", f"share_first_cycle={share}", *overrides)
            assert result.status == 0, result.err
    return folder / "on", folder / "off"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return both(tmp_path_factory.mktemp("rows"), ["random", "dispersion", "margin"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random", "dispersion", "margin"])
def test_a_row_leaves_what_it_leaves_alone(rows: tuple[Path, Path], name: str) -> None:
    on, off = row(rows[0], name), row(rows[1], name)
    assert contents(on) == contents(off) and on.name == off.name
    assert [entry["stage"] for entry in journal(on)] == [entry["stage"] for entry in journal(off)]
    costs = [json.loads((run / "cost.json").read_text()) for run in (on, off)]
    assert costs[0] | {"forward_seconds": 0, "turns": 0} == costs[1] | {"forward_seconds": 0, "turns": 0}
    assert not (off / USED).exists()


@pytest.mark.slow
def test_the_journal_tells_who_trained_and_who_took(rows: tuple[Path, Path]) -> None:
    product = taken(row(rows[0], "margin"))
    assert product["fit"] == product["test"]
    assert taken(row(rows[0], "random")) == {} == taken(row(rows[0], "dispersion"))
    used = {name: json.loads((row(rows[0], name) / USED).read_text())["first_cycle"] for name in ("random", "margin")}
    assert used["random"]["product"] == product["fit"] and not used["random"]["taken"]
    assert used["random"]["files"] == ["epochs.csv", "model.pt"]
    assert used["margin"]["taken"] and used["margin"]["product"] == product["fit"]
    seconds = [[e["seconds"] for e in journal(row(rows[0], name))[:2]] for name in ("random", "margin")]
    assert seconds[0] == seconds[1]  # what it would have taken


def test_only_rows_that_record_alike_share(rows: tuple[Path, Path]) -> None:
    """Label dispersion's tracker leaves a history, which the others' product lacks."""
    products = sorted((rows[0] / ".cache" / "first_cycle").glob("[!.]*"))
    assert sorted((product / "history.npy").exists() for product in products) == [False, True]
    for product in products:
        about = json.loads((product / "product.json").read_text())["content"]
        assert len(about["providers"]) == (product / "history.npy").exists()
        assert about["processes"] == 1 and not about["config"].keys() & {"acquisition", "schedule", "informativeness"}


@pytest.mark.slow
def test_members_of_an_ensemble_are_shared(tmp_path: Path) -> None:
    on, off = both(tmp_path, ["random", "bald"], "num_members=2", "trainer.max_epochs=1")
    assert contents(row(on, "bald")) == contents(row(off, "bald"))
    assert taken(row(on, "bald")).keys() == {"fit", "fit_1", "test"}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("one")
    assert alpl(runs, *ONE, "row=one").status == 0
    return runs


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("change", "shares"),
    [("acquisition=margin schedule.cycles=1 schedule.budget=3 informativeness=false warm_start=true", True),
     ("seed=1", False),
     ("model.optimizer.lr=0.01", False), ("schedule.initial.seed=7", False), ("num_members=2", False),
     ("num_threads=2", False), ("data.labeled_fraction=0.5", False)],
)  # fmt: skip
def test_who_shares(one: Path, change: str, shares: bool) -> None:
    name = change.split("=")[0]
    assert alpl(one, *ONE, f"row={name}", *change.split()).status == 0
    assert bool(taken(row(one, name))) == shares


@pytest.mark.slow
def test_a_taken_file_is_the_runs_own(tmp_path: Path) -> None:
    for name in ("random", "entropy"):
        assert alpl(tmp_path, *TINY, f"acquisition={name}").status == 0
    product = tmp_path / ".cache" / taken(row(tmp_path, "entropy"))["fit"]
    for path in (row(tmp_path, name) / "cycle_00" / "model.pt" for name in ("random", "entropy")):
        assert path.stat().st_ino != (product / "model.pt").stat().st_ino


@pytest.mark.slow
def test_a_broken_product_is_not_taken(tmp_path: Path) -> None:
    assert alpl(tmp_path, *TINY, "acquisition=random").status == 0
    (model,) = tmp_path.glob(".cache/first_cycle/*/model.pt")
    whole = model.read_bytes()
    model.write_bytes(whole[:-1])
    assert alpl(tmp_path, *TINY, "acquisition=entropy").status == 0
    run = row(tmp_path, "entropy")
    assert taken(run) == {} and model.read_bytes() == whole == (run / "cycle_00" / "model.pt").read_bytes()
    assert "is broken and is made again: model.pt" in (run / "run.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["history.npy", "model.pt", "pool.csv"])
def test_a_taken_file_that_broke_is_mended_as_the_message_says(tmp_path: Path, name: str) -> None:
    for row_name in ("maker", "taker"):
        assert alpl(tmp_path, *TINY, "acquisition=dispersion", f"row={row_name}").status == 0
    run = row(tmp_path, "taker")
    whole = contents(run)
    lines = (run / "journal.jsonl").read_text().splitlines(keepends=True)
    (run / "journal.jsonl").write_text("".join(lines[:2]))  # killed after the test
    path = run / "cycle_00" / name
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    broken = alpl(tmp_path, *TINY, "acquisition=dispersion", "row=taker")
    assert broken.status == 2 and f"{path} is not what stage fit wrote there: delete it" in broken.err
    path.unlink()
    again = alpl(tmp_path, *TINY, "acquisition=dispersion", "row=taker")
    assert again.status == 0, again.err
    assert taken(run).keys() == {"fit", "test"} and contents(run) == whole


@pytest.mark.slow
def test_a_cache_that_cannot_be_made_ends_the_run_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    result = alpl(tmp_path / "runs", *TINY, f"paths.cache={tmp_path / 'file'}")
    assert result.status == 2 and "paths.cache must be a folder that can be made" in result.err
    assert alpl(tmp_path / "runs", *TINY, f"paths.cache={tmp_path / 'file'}", "share_first_cycle=false").status == 0


# --- one part alone

DETERMINANTS = {"processes": 1, "config": {"lr": 0.1}}
RESULTS = {"test/accuracy": 0.5}


class Made:
    """A run folder, and the part that takes its first cycle or has it trained."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = RunFolder(folder)
        self.stages = Stages(self.folder, mock.Mock(prefix="run"), mock.Mock())
        self.part = FirstCycle(self.stages, mock.Mock(cache=cache))
        self.trained: list[str] = []

    def train(self) -> None:
        for stage in ("fit", "test"):
            with self.stages.run(0, stage, together=True) as todo:
                if todo:
                    self.trained.append(stage)
                    path = self.folder.cycle(0).folder / f"{stage}.txt"
                    path.parent.mkdir(exist_ok=True)
                    path.write_text(stage)
                    if stage == "test" and self.part.taken:
                        assert self.part.results_taken() == RESULTS
                    elif stage == "test":
                        self.part.note_results(RESULTS)

    def run(self, **changes: object) -> list[str]:
        self.part.share(lambda: DETERMINANTS | changes, self.train)
        self.train()
        return self.trained


@pytest.fixture
def product(tmp_path: Path) -> Path:
    assert Made(tmp_path / "maker", tmp_path / "cache").run() == ["fit", "test"]
    assert Made(tmp_path / "maker_of_two", tmp_path / "cache").run(processes=2) == ["fit", "test"]
    return tmp_path / "cache"


def mended(run: Made) -> Made:
    """The same run, taken up again."""
    run.folder.look_over()
    return Made(run.folder.path, run.part._products.root)  # type: ignore[union-attr]


def as_earlier(run: RunFolder) -> None:
    """Let a run be one of an earlier version, which did not tell the files that it took in the lines of the fits."""
    entries = run.journal
    told = {"cycle_00/fit.txt": entries[0].pop("files")["cycle_00/fit.txt"]}
    (run.path / "journal.jsonl").unlink()
    for entry in entries:
        run.mark_done(entry | ({"files": told | entry["files"]} if entry["stage"] == "test" else {}))
    used = read_sealed(run.path / USED)[first_cycle.KIND]
    write_sealed(run.path / USED, {first_cycle.KIND: {name: used[name] for name in used if name != "files"}})


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("stage", ["fit", "test"])
def test_a_taken_file_that_broke_is_named_and_taken_again(
    tmp_path: Path, product: Path, stage: str, earlier: bool
) -> None:
    made = Made(tmp_path / "run", product)
    made.part.share(lambda: DETERMINANTS, made.train)
    if stage == "test":
        made.train()
    if earlier:
        as_earlier(made.folder)
    path = made.folder.cycle(0).folder / "fit.txt"
    path.write_text("fib")
    if not (earlier and stage == "fit"):
        with pytest.raises(DataError, match=rf"fit\.txt is not what stage {'test' if earlier else 'fit'} wrote there"):
            made.folder.look_over()
    path.unlink()
    again = mended(made)
    assert again.run() == ["test"] and again.part.taken and path.read_text() == "fit"
    assert [entry["stage"] for entry in again.folder.journal] == ["fit", "test"]
    assert "cycle_00/fit.txt" in again.folder.journal[0]["files"]


@pytest.mark.parametrize("processes", [1, 2])
def test_what_was_taken_is_trained_where_it_and_the_product_are_gone(
    tmp_path: Path, product: Path, processes: int
) -> None:
    made = Made(tmp_path / "run", product)
    assert made.run(processes=processes) == ["test"]
    (made.folder.cycle(0).folder / "fit.txt").unlink()
    shutil.rmtree(product)
    again = mended(made)
    assert again.run(processes=processes) == ["fit", "test"] and again.part.taken is None


def test_a_run_that_was_killed_while_it_took_takes_again(tmp_path: Path, product: Path) -> None:
    made = Made(tmp_path / "run", product)
    with mock.patch.object(RunFolder, "mark_done", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        made.run()
    path = made.folder.cycle(0).folder / "fit.txt"
    path.write_text("fib")  # no line answers for it yet
    assert mended(made).run() == ["test"] and path.read_text() == "fit"


def test_the_others_do_not_go_on_with_what_is_gone(tmp_path: Path, product: Path) -> None:
    made = Made(tmp_path / "run", product)
    made.part.share(lambda: DETERMINANTS, made.train)
    assert made.part._is_decided()
    (made.folder.cycle(0).folder / "fit.txt").unlink()
    assert not made.part._is_decided()


def test_what_is_half_trained_is_not_taken(tmp_path: Path, product: Path) -> None:
    made = Made(tmp_path / "run", product)
    made.folder.mark_done({"cycle": 0, "stage": "fit", "seconds": 1.0})
    assert made.run() == ["test"] and made.part.taken is None


def test_what_other_processes_heard_is_not_taken_back(tmp_path: Path, product: Path) -> None:
    for processes, expected in ((1, ["test"]), (2, ["fit", "test"])):
        made = Made(tmp_path / str(processes), product)
        made.part._note("first_cycle/of_before", taken=False)
        assert made.run(processes=processes) == expected
        assert (made.part.taken is None) == (processes == 2)


def test_a_run_that_began_by_itself_waits_for_nobody(tmp_path: Path) -> None:
    made = Made(tmp_path / "run", tmp_path / "cache")
    made.folder.mark_done({"cycle": 0, "stage": "fit", "seconds": 1.0})
    with mock.patch.object(first_cycle.Products, "_try", return_value=False):
        assert made.run() == ["test"]
    assert made.part._used() is not None and made.part.taken is None


def test_what_a_killed_run_had_tested_is_offered_when_it_goes_on(tmp_path: Path) -> None:
    made = Made(tmp_path / "run", tmp_path / "cache")
    with mock.patch.object(first_cycle, "_copy", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        made.run()
    (made.folder.cycle(0).folder / "query.csv").write_text("what came later is not of it")
    assert made.run() == ["fit", "test"]
    other = Made(tmp_path / "other", tmp_path / "cache")
    assert other.run() == ["test"] and other.part.taken
    assert sorted(path.name for path in other.folder.cycle(0).folder.iterdir()) == ["fit.txt", "test.txt"]
    made.folder.cycle(0).folder.joinpath("fit.txt").unlink()  # keep_models=false
    made.part.share(lambda: DETERMINANTS | {"config": {}}, made.train)


def test_a_wait_says_so_and_can_be_left(tmp_path: Path) -> None:
    made = Made(tmp_path / "run", tmp_path / "cache")
    made.stages.interruption.leave.side_effect = [None, Interrupted]
    with (
        mock.patch.object(Products, "_try", return_value=False),
        mock.patch("time.sleep"),
        pytest.raises(Interrupted),
    ):
        made.run()
    said = [call.args[0] for call in made.stages.progress.say.call_args_list]
    assert len(said) == 1 and "waits for first_cycle/" in said[0] and "another process makes" in said[0]
    assert made.stages.progress.within.call_count == 2


def test_the_other_processes_wait_until_it_is_decided(tmp_path: Path, product: Path) -> None:
    first, other = Made(tmp_path / "run", product), Made(tmp_path / "run", product)
    seen = []

    def first_does_it(seconds: float) -> None:
        seen.append(other.part._used())
        if len(seen) == 2:
            rank.return_value = 0
            first.run(processes=2)
            rank.return_value = 1

    rank = mock.Mock(return_value=1)
    with mock.patch("alpl.sharing.first_cycle.rank", rank), mock.patch("time.sleep", first_does_it):
        other.part.share(dict, other.train)
    assert seen == [None, None] and other.part.taken == first.part.taken is not None


def test_they_do_not_wait_for_a_dead_one(tmp_path: Path) -> None:
    parents = iter([os.getppid(), os.getppid(), 1])
    with (
        mock.patch("alpl.sharing.first_cycle.rank", return_value=1),
        mock.patch.object(time, "sleep"),
        mock.patch("os.getppid", lambda: next(parents)),
        pytest.raises(RuntimeError, match="process 0 ended before"),
    ):
        Made(tmp_path / "run", tmp_path / "cache").run()


def test_a_cache_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ConfigError, match=r"paths\.cache must be a folder"):
        Made(tmp_path / "run", tmp_path / "file").run()
