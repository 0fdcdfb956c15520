"""The six tables of Elezi et al.: printed numbers, rows, and every row as a trial."""

import hashlib
from functools import partial
from pathlib import Path

import configs
import pytest
from command import alpl
from configs import checked
from omegaconf import OmegaConf

from alpl.config.compose import EXPERIMENTS

# SHA-256 of the printed numbers: nobody changes them by accident
PRINTED = {
    "table1": "1d638075b43ea64de847f831846362848d6fcff5bc55e7b78a449731deff8cd1",
    "table2": "19bf567d2696cb826a005dfed3bbe754298fb99b2f21e48f9274c1dbd94940f1",
    "table3": "d0663c475bbaa01c3fd01ccbc70c24b663f7582efbf2cc30d4d9fb1fa8ffe9f0",
    "table4": "65dab6044e8562d5caf91eeb57d14092655505002663806bccdb1eda38e353df",
    "table5": "18e11f90e480168aa69da88d606c32421b1d5b53a74746452695a2072b384c50",
    "table6": "ecf9d9adcebda30d14c36d44f2d771214c9039eedaea808ab199216f259bc10d",
}
TABLES = sorted(PRINTED)
SMOKE = ("scale=smoke", "seed=0")
SHORT = (*SMOKE, "trainer.max_epochs=1")  # what runs does not hang on how long it trains
PART = {"_target_": "alpl.modules.consistency.FlipConsistency"}
WRITTEN = PART | {
    "pairing": "as_written", "pairs": "matched", "compare": "recoded", "detach_targets": True, "ramp": None,
}  # fmt: skip
RELEASED = PART | {
    "pairing": "as_released", "pairs": "foreground", "compare": "offsets", "detach_targets": True,
    "ramp": "as_released",
}  # fmt: skip
NOT_SWEPT = {"elezi_as_released"}  # the released code, beside the rows of the paper


experiment = partial(configs.experiment, "elezi")
methods = partial(configs.methods, "elezi")
printed = partial(configs.printed, "elezi")


@pytest.mark.parametrize("table", TABLES)
def test_printed_numbers_are_unchanged(table: str) -> None:
    content = (EXPERIMENTS / "elezi" / f"{table}.paper.csv").read_bytes()
    assert hashlib.sha256(content).hexdigest() == PRINTED[table]


def test_printed_numbers_are_those_of_the_text() -> None:
    assert printed("table1")["Ours", "cycle_1"] == ("70.95", "0.1")
    assert printed("table2")["SSL", "cycle_5"] == ("31.10", "0.1")
    assert printed("table3")["Inconsistency", "cycle_4"] == ("72.80", "1.0")
    assert printed("table5")["Top 40%", "cycle_2"] == ("72.14", "0.2")
    assert printed("table6")["Random", "cycle_0"] == ("53.66", "0.2")
    # Table 2's "Ours" is what Table 4 calls "Ours w/o tau1"
    for cycle in range(1, 6):
        assert printed("table2")["Ours", f"cycle_{cycle}"] == printed("table4")["Ours w/o tau1", f"cycle_{cycle}"]


@pytest.mark.parametrize("table", TABLES)
def test_every_printed_row_is_swept(table: str) -> None:
    report = experiment(table).report
    swept = methods(table)
    assert set(report.rows) - set(swept) <= NOT_SWEPT
    assert {row for row, _ in printed(table)} == {report.rows[method] for method in swept}
    assert experiment(table).hydra.sweeper.params.seed == "0,1,2"


@pytest.mark.slow
@pytest.mark.parametrize("table", [TABLES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in TABLES[1:])])
def test_every_row_composes_in_full_and_as_a_trial(table: str) -> None:
    for method in methods(table):
        full = checked(f"experiment=elezi/{table}", f"method={method}")
        assert full.trainer.max_steps == 120_000 and full.model.scheduler.milestones == [80_000, 100_000]
        assert full.schedule.initial.seed == 0 and full.schedule.budget == 1000 and full.schedule.cycles == 5
        assert full.data.batch_size == 32 and full.data.augment.size == 300
        trial = checked(f"experiment=elezi/{table}", "scale=smoke", f"method={method}")
        assert trial.data.source._target_.endswith("DigitScenes") and trial.data.augment.size == 96
        assert trial.schedule.cycles == 1 and trial.trainer.max_epochs == 3
        # what a row is stays what it is
        for name in ("acquisition", "pseudo_labels", "num_members", "data.labeled_fraction", "model.consistency"):
            assert OmegaConf.select(full, name) == OmegaConf.select(trial, name)


@pytest.mark.slow
def test_rows_are_what_the_paper_says() -> None:
    ours = checked("experiment=elezi/table1", "method=elezi")
    assert (ours.acquisition.measure, ours.acquisition.score_thresh) == ("product", 0.5)
    assert (ours.pseudo_labels.score_thresh, ours.data.labeled_fraction) == (0.99, 0.5)
    assert ours.model.consistency == WRITTEN
    assert ours.schedule.initial.size == 2000
    everything = checked("experiment=elezi/table2", "method=elezi_no_tau1")
    assert (everything.acquisition.score_thresh, everything.pseudo_labels.score_thresh) == (0.0, 0.99)
    assert everything.schedule.initial.size == 5000 and everything.model.layout.min_sizes[0] == 21
    released = checked("experiment=elezi/table1", "method=elezi_as_released")
    assert (released.acquisition.measure, released.acquisition.candidates) == ("two_stage", 3000)
    assert released.model.consistency == RELEASED
    combined = checked("experiment=elezi/table3", "method=ssl_combined")
    assert combined.pseudo_labels is None and combined.acquisition.score_thresh == 0.0
    random = checked("experiment=elezi/table1", "method=random")
    assert random.model.consistency is None and random.data.labeled_fraction == 1.0 and random.pseudo_labels is None
    dropout = checked("experiment=elezi/table1", "method=detection_mc_dropout")
    assert (dropout.model.network.dropout, dropout.model.num_passes) == (0.1, 25)
    assert dropout.model.acquisition.score_thresh < dropout.acquisition.score_thresh  # else some would be lost
    shares = {method: checked("experiment=elezi/table6", f"method={method}") for method in methods("table6")}
    assert {method: config.data.labeled_fraction for method, config in shares.items()} == {
        "ssl_combined_unbalanced": "random", "ssl_combined_quarter": 0.25, "ssl_combined": 0.5,
    }  # fmt: skip
    tops = [checked("experiment=elezi/table5", f"method=elezi_top{share}") for share in (20, 30, 40)]
    assert [config.pseudo_labels.fraction for config in tops] == [0.2, 0.3, 0.4]
    assert all(config.acquisition.score_thresh == 0.0 for config in tops)


def test_a_row_of_table1_runs_from_its_command(tmp_path: Path) -> None:
    result = alpl(tmp_path, "-m", "+experiment=elezi/table1", *SHORT, "method=elezi")
    assert result.status == 0, result.err
    assert [folder.parent.name for folder in result.run_folders()] == ["elezi"]
    assert (tmp_path / "elezi" / "table1" / "report" / "index.html").exists()


@pytest.mark.slow
def test_all_rows_of_table1_run_from_one_command(tmp_path: Path) -> None:
    result = alpl(tmp_path, "-m", "+experiment=elezi/table1", *SHORT)
    assert result.status == 0, result.err
    assert [folder.parent.name for folder in result.run_folders()] == sorted(methods("table1"))
    for folder in result.run_folders():
        assert (folder / "cycle_01" / "metrics.json").exists(), folder
    page = (tmp_path / "elezi" / "table1" / "report" / "index.html").read_text()
    assert all(row in page for row, _ in printed("table1"))


def new_rows(table: str) -> list[str]:
    """Rows that no earlier table has: the others are the same runs under another name."""
    earlier = {method for name in TABLES if name < table for method in methods(name)}
    return [method for method in methods(table) if method not in earlier]


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES[1:])
def test_the_other_tables_run(tmp_path: Path, table: str) -> None:
    """Rows that an earlier table has run, too, are not run again; each table runs one at least."""
    chosen = new_rows(table) or methods(table)[:1]
    chosen += sorted(NOT_SWEPT) if table == "table3" else []
    result = alpl(tmp_path, f"+experiment=elezi/{table}", *SHORT, f"method={','.join(chosen)}")
    assert result.status == 0, result.err
    assert [folder.parent.name for folder in result.run_folders()] == sorted(chosen)
    assert (tmp_path / "elezi" / table / "report" / "index.html").exists()
