import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_runs import accuracy, make_run

from alpl.pool import Pool
from alpl.report import write_report
from alpl.report.judged.claimed import judge_claim
from alpl.report.judged.claims import JudgedClaim, judged_claims
from alpl.report.read.aggregate import group
from alpl.report.read.claims import read_claims
from alpl.runs.results import find_runs

SEEDS = [3, 4, 5, 6]
ENTRY = {"row": "dispersion", "than": "random", "difference": 0.01, "seeds": SEEDS}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for row in ("dispersion", "random"):
        for seed in (0, *SEEDS):  # 0: of the tuning
            make_run(tmp_path, "claims/one", row, seed=seed, report={"claims": {"it finds more": ENTRY}})
    return tmp_path


def judged(root: Path, **changed: Any) -> JudgedClaim:
    (found,) = judged_claims(read_claims({"it": {**ENTRY, **changed}}), group(find_runs([root])), None)
    return found


def height(row: str, seed: int) -> float:
    """The mean height of a curve at equal steps, by the trapezoidal rule."""
    values = [accuracy(row, cycle, seed) for cycle in range(5)]
    return (values[0] / 2 + sum(values[1:4]) + values[4] / 2) / 4


@pytest.mark.parametrize("at", ["last", "mean", 2, "area"])
def test_the_numbers_are_those_of_the_runs(runs: Path, at: int | str) -> None:
    def value(row: str, seed: int) -> float:
        if at == "area":
            return height(row, seed)
        values = [accuracy(row, cycle, seed) for cycle in range(5)]
        return sum(values) / 5 if at == "mean" else values[2 if at == 2 else 4]

    rows = [{seed: value(row, seed) for seed in SEEDS} for row in ("dispersion", "random")]
    expected = judge_claim(rows[0], rows[1], seeds=SEEDS, difference=0.01)
    found = judged(runs, at=at)
    assert found.verdict.differences == pytest.approx(expected.differences)
    assert found.verdict.word == expected.word and found.verdict.p_value == pytest.approx(expected.p_value)


def test_of_a_loss_less_is_better(runs: Path) -> None:
    assert judged(runs, metric="loss").verdict.differences == pytest.approx(judged(runs).verdict.differences)


def test_seconds_are_of_the_seeds_of_the_verdict(runs: Path) -> None:
    one = sum(stage * 5 for stage in (1, 2, 3, 4))  # of each cycle, times (seed + 1) / 2
    assert judged(runs).seconds == pytest.approx(2 * sum(one * (seed + 1) / 2 for seed in SEEDS))
    assert judged(runs).commits == ("0123456789abcdef0123456789abcdef01234567",)


def test_a_row_that_is_not_there_cannot_be_told(runs: Path) -> None:
    verdict = judged(runs, row="noris").verdict
    assert verdict.word == "cannot tell" and "0 lines of the table are noris" in verdict.reason


def test_unfinished_runs_and_other_first_labels_are_missing_seeds(runs: Path) -> None:
    make_run(runs, "claims/one", "random", seed=7, done=4)
    make_run(runs, "claims/one", "dispersion", seed=7)
    folder = next((runs / "claims/one/random").glob("*-seed4-*"))
    Pool.create(400, torch.arange(1, 41)).save(folder / "cycle_00" / "pool.csv")
    verdict = judged(runs, seeds=[*SEEDS, 7]).verdict
    assert verdict.missing == (4, 7) and verdict.word == "cannot tell" and len(verdict.differences) == 3


def test_a_cycle_that_was_not_run_leaves_all_seeds_missing(runs: Path) -> None:
    assert judged(runs, at=9).verdict.missing == tuple(SEEDS)


def test_the_report_shows_them(runs: Path) -> None:
    page = write_report("claims/one", find_runs([runs]), runs / "out").read_text()
    with (runs / "out" / "claims.csv").open() as stream:
        (line,) = csv.DictReader(stream)
    verdict = judged(runs).verdict
    assert line["verdict"] == verdict.word and line["seconds"]
    assert [float(text) for text in line["differences"].split()] == list(verdict.differences)
    assert "it finds more" in page and ">Claims</h2>" in page and verdict.word in page
    assert "it finds more" in (runs / "out" / "table.md").read_text()
