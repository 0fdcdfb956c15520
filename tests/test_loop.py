"""The cycle: nothing leaks, nothing depends on luck, and every option does what it says."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command import TINY, alpl

from alpl.acquisition import Query
from alpl.data.digits import Digits
from alpl.data.sets import ImageSet, Splits
from alpl.pool import Pool

ALL_BUT_ORACLE = ["random", "least_confidence", "margin", "entropy", "bald", "kcenter", "dispersion"]
FAST = {("1.0", "random"), ("0.5", "dispersion"), ("0.5", "kcenter")}


def scramble(monkeypatch: pytest.MonkeyPatch, kept: torch.Tensor) -> None:
    """Give every training image but ``kept`` a wrong label, as if the benchmark's file had it."""
    load = Digits.load

    def scrambled(self: Digits) -> Splits:
        splits = load(self)
        wrong = (splits.train.targets + 1 + torch.arange(len(splits.train)) % 9) % 10
        wrong[kept] = splits.train.targets[kept]
        return Splits(ImageSet(splits.train.images, wrong), splits.test, splits.classes)

    monkeypatch.setattr(Digits, "load", scrambled)


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("fraction", "acquisition"),
    [
        pytest.param(fraction, name, marks=[] if (fraction, name) in FAST else [pytest.mark.slow])
        for fraction in ("1.0", "0.5")
        for name in ALL_BUT_ORACLE
    ],
)
def test_labels_of_unlabeled_images_reach_nothing(tmp_path: Path, monkeypatch, acquisition: str, fraction: str) -> None:
    overrides = [*TINY, f"acquisition={acquisition}", f"data.labeled_fraction={fraction}", "schedule.cycles=2"]
    true = alpl(tmp_path / "true", *overrides).run_folder()
    labeled_at_last = Pool.load(true / "cycle_02" / "pool.csv").labeled
    scramble(monkeypatch, kept=labeled_at_last)
    wrong = alpl(tmp_path / "wrong", *overrides).run_folder()
    names = [path.relative_to(true) for path in sorted(true.rglob("*")) if path.is_file()]
    compared = [
        name for name in names if name.name in ("pool.csv", "query.csv", "history.npy", "model.pt", "metrics.csv")
    ]
    assert len(compared) >= 9
    for name in compared:
        assert (true / name).read_bytes() == (wrong / name).read_bytes(), name
    # the scrambling was real: the analysis, which may look, saw it
    correct = [np.load(run / "cycle_00" / "informativeness" / "correct.npy") for run in (true, wrong)]
    assert not np.array_equal(*correct)


@pytest.mark.slow
def test_only_the_oracle_sees_the_labels(tmp_path: Path, monkeypatch) -> None:
    overrides = ["acquisition=oracle", "trainer.max_epochs=20", "schedule.cycles=1"]  # enough to be right at times
    true = alpl(tmp_path / "true", *overrides).run_folder()
    scramble(monkeypatch, kept=Pool.load(true / "cycle_00" / "pool.csv").labeled)
    wrong = alpl(tmp_path / "wrong", *overrides).run_folder()
    picks = [Query.load(run / "cycle_00" / "query.csv").index for run in (true, wrong)]
    assert not torch.equal(*picks)


def test_twice_the_same_and_another_seed_differs(tmp_path: Path) -> None:
    overrides = [*TINY, "acquisition=dispersion"]
    first, second, other = (
        alpl(tmp_path / str(number), *overrides, f"seed={seed}").run_folder() for number, seed in enumerate([0, 0, 1])
    )
    for name in ("cycle_00/pool.csv", "cycle_00/query.csv", "cycle_01/model.pt", "cycle_00/history.npy", "metrics.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
        assert (first / name).read_bytes() != (other / name).read_bytes()
    assert first.name == second.name != other.name


def test_the_pool_grows_by_the_queries(tmp_path: Path) -> None:
    run = alpl(
        tmp_path, "trainer.max_epochs=1", "schedule={budget: [5,1%,10%], cycles: null}", "acquisition=margin"
    ).run_folder()
    pools = [Pool.load(run / f"cycle_0{cycle}" / "pool.csv") for cycle in range(4)]
    assert [pool.num_labeled for pool in pools] == [30, 35, 47, 167]  # 1198 images: 1 % is 12, 10 % is 120
    for cycle in range(3):
        query = Query.load(run / f"cycle_0{cycle}" / "query.csv")
        assert torch.equal(pools[cycle + 1].cycle, pools[cycle].reveal(query.index).cycle)
    rows = (run / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows] == ["num_labeled", "30", "35", "47", "167"]


def test_class_balance_of_a_query_and_of_all_that_is_labeled_is_recorded(tmp_path: Path) -> None:
    run = alpl(tmp_path, "trainer.max_epochs=1", "schedule.cycles=1", "acquisition=margin").run_folder()
    with (run / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2
    targets = Digits().load().train.targets
    for cycle, row in enumerate(rows):
        since = Pool.load(run / f"cycle_0{cycle}" / "pool.csv").cycle
        for name, which in (("l1_score", since == cycle), ("l1_score_labeled", since >= 0)):
            counts = np.bincount(targets[which], minlength=10)
            worst = 2 * counts.sum() * 9 / 10
            assert float(row[name]) == pytest.approx(np.abs(counts - counts.sum() / 10).sum() / worst)
    assert rows[0]["l1_score"] == rows[0]["l1_score_labeled"] and rows[1]["l1_score"] != rows[1]["l1_score_labeled"]


@pytest.mark.slow
def test_the_whole_pool_can_be_bought(tmp_path: Path) -> None:
    run = alpl(tmp_path, "trainer.max_epochs=1", "schedule.budget=[1168]", "schedule.cycles=null").run_folder()
    assert Pool.load(run / "cycle_01" / "pool.csv").num_labeled == 1198
    assert json.loads((run / "journal.jsonl").read_text().splitlines()[-1])["stage"] == "finished"


@pytest.mark.slow
def test_without_a_budget_one_training_on_the_initial_set(tmp_path: Path) -> None:
    run = alpl(tmp_path, "trainer.max_epochs=1", "method=all_data", "acquisition=bald").run_folder()
    assert [path.name for path in sorted(run.glob("cycle_*"))] == ["cycle_00"]
    assert Pool.load(run / "cycle_00" / "pool.csv").num_labeled == 1198
    assert not (run / "cycle_00" / "query.csv").exists()


@pytest.mark.slow
def test_an_ensemble_trains_members_that_differ(tmp_path: Path) -> None:
    run = alpl(tmp_path, *TINY, "num_members=2", "acquisition=bald", "model.network.dropout=0").run_folder()
    first, second = (torch.load(run / "cycle_00" / name, weights_only=True) for name in ("model.pt", "model_1.pt"))
    assert not torch.equal(first["network.head.weight"], second["network.head.weight"])
    utility = np.load(run / "cycle_00" / "informativeness" / "utility.npy")
    assert utility.min() >= 0 and utility.max() > 0  # two members that agreed everywhere would give zeros


@pytest.mark.slow
def test_warm_start_continues(tmp_path: Path) -> None:
    """With a learning rate of zero, weights that are continued stay what they were."""
    still = ["model.optimizer.lr=0", "model.scheduler=null", "model.optimizer.weight_decay=0"]
    for warm in (True, False):
        run = alpl(tmp_path / str(warm), *TINY, *still, f"warm_start={str(warm).lower()}").run_folder()
        weights = [
            torch.load(run / f"cycle_0{c}" / "model.pt", weights_only=True)["network.head.weight"] for c in (0, 1)
        ]
        assert torch.equal(*weights) == warm


@pytest.mark.slow
def test_initial_weights_are_loaded(tmp_path: Path) -> None:
    run = alpl(tmp_path / "first", *TINY).run_folder()
    still = ["model.optimizer.lr=0", "model.scheduler=null", f"model.weights={run / 'cycle_01' / 'model.pt'}"]
    second = alpl(tmp_path / "second", *TINY, *still).run_folder()
    weights = [
        torch.load(file, weights_only=True) for file in (run / "cycle_01/model.pt", second / "cycle_00/model.pt")
    ]
    assert torch.equal(weights[0]["network.head.weight"], weights[1]["network.head.weight"])


@pytest.mark.slow
def test_steps_instead_of_epochs(tmp_path: Path) -> None:
    run = alpl(tmp_path, "trainer.max_epochs=-1", "trainer.max_steps=7", "schedule.cycles=1", "acquisition=dispersion",
               "model.scheduler={T_max: 7}").run_folder()  # fmt: skip
    assert np.load(run / "cycle_00" / "history.npy").shape[0] == 4  # two batches an epoch: 7 steps end in the fourth


@pytest.mark.slow
def test_validation_images_stay_out_of_the_pool(tmp_path: Path) -> None:
    run = alpl(tmp_path, "trainer.max_epochs=2", "data.validation=100", "method=all_data").run_folder()
    pool = Pool.load(run / "cycle_00" / "pool.csv")
    assert int((pool.cycle == -2).sum()) == 100 and pool.num_labeled == 1098
    assert "val/accuracy" in (run / "cycle_00" / "epochs.csv").read_text().splitlines()[0]


@pytest.mark.slow
def test_what_has_served_is_removed_unless_it_is_kept(tmp_path: Path) -> None:
    run = alpl(tmp_path / "lean", *TINY, "acquisition=kcenter", "keep_models=false").run_folder()
    assert not list(run.rglob("predictions")) and [p.parent.name for p in run.rglob("*.pt")] == ["cycle_01"]
    kept = alpl(tmp_path / "kept", *TINY, "acquisition=kcenter", "keep_predictions=true").run_folder()
    assert (kept / "cycle_00/predictions/labeled/image_features.npy").exists()
    assert len(list(kept.rglob("*.pt"))) == 2
    assert run.name == kept.name  # housekeeping is no part of the key


def test_only_what_is_needed_is_computed(tmp_path: Path) -> None:
    run = alpl(tmp_path, *TINY, "acquisition=random", "informativeness=false").run_folder()
    stages = [json.loads(line)["stage"] for line in (run / "journal.jsonl").read_text().splitlines()]
    assert stages == ["fit", "test", "select", "fit", "test", "finished"]
    assert not list(run.rglob("history.npy")) and not list(run.rglob("informativeness"))


def test_a_changed_data_set_is_not_mixed_into_a_run(tmp_path: Path, monkeypatch) -> None:
    run = alpl(tmp_path, *TINY).run_folder()
    lines = (run / "journal.jsonl").read_text().splitlines()
    (run / "journal.jsonl").write_text("".join(f"{line}\n" for line in lines[:-1]))
    load = Digits.load

    def shorter(self: Digits) -> Splits:
        splits = load(self)
        return Splits(ImageSet(splits.train.images[:-1], splits.train.targets[:-1]), splits.test, splits.classes)

    monkeypatch.setattr(Digits, "load", shorter)
    again = alpl(tmp_path, *TINY)
    assert again.status == 2 and "is of other data than there are now" in again.err
    assert "training images differ (1198 then, 1197 now)" in again.err
