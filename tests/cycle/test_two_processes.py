"""Stages of an acquisition, two models and a partner under DDP: two processes leave one whole run."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from forked import Forked

from alpl.acquisition import Query
from alpl.callbacks.class_difficulty import DIFFICULTY
from alpl.labeling import AbstractPseudoLabels
from alpl.pool import Pool

pytestmark = pytest.mark.slow

DDP = ("trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy=ddp", "num_threads=1")
DIGITS = ("data=digits", "schedule.initial.size=40", "schedule.budget=20", "schedule.cycles=1", "trainer.max_epochs=2")


def _run(runs: Path, *overrides: str) -> Path:
    process = Forked(
        "-m", "alpl", *overrides, *DDP, f"paths.runs={runs}", "row=ddp", "keep_predictions=true", cwd=runs, joined=True
    )
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 0, output
    (found,) = [file.parent for file in runs.rglob("run.json")]
    return found


def _stages(run: Path, cycle: int) -> list[str]:
    entries = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    assert entries[-1]["stage"] == "finished"
    return [entry["stage"] for entry in entries if entry.get("cycle") == cycle]


def _index(run: Path, name: str) -> list[int]:
    return np.load(run / "cycle_00" / "predictions" / name / "index.npy").tolist()


def test_two_models(tmp_path: Path) -> None:
    run = _run(tmp_path, *DIGITS, "acquisition=entropy", "learner=two_models", "learner.labeler.amount=100")
    assert _stages(run, 0) == ["fit", "label", "fit_student", "test", "predict", "select"]
    pseudo = AbstractPseudoLabels.load(run / "cycle_00" / "pseudo_labels.csv")
    query = Query.load(run / "cycle_00" / "query.csv")
    assert len(pseudo.index) == 100 and not set(pseudo.index.tolist()) & set(query.index.tolist())


def test_a_partner(tmp_path: Path) -> None:
    partner = (
        "acquisition={_target_: labeled_or_not.LeastLabeled}",
        "partner={_target_: alpl.modules.Partner, module: {_target_: labeled_or_not.LabeledOrNot, _partial_: true}, "
        "trainer: {_target_: labeled_or_not.trainer, _partial_: true, devices: 2, strategy: ddp}}",
    )
    run = _run(tmp_path, *DIGITS, *partner, "data.labeled_fraction=0.5", "informativeness=false")
    assert _stages(run, 0) == ["fit", "test", "fit_partner", "ask_partner", "select"]
    assert _index(run, "partner") == Pool.load(run / "cycle_00" / "pool.csv").unlabeled.tolist()


def test_stages_of_an_acquisition(tmp_path: Path) -> None:
    scenes = ("scale=smoke", "model=retinanet_tiny", "trainer.max_epochs=1")
    run = _run(tmp_path, *scenes, "acquisition=entropy_then_ccms", "acquisition.ratio=2")
    assert _stages(run, 0) == ["fit", "test", "predict", "narrow", "predict_1", "select"]
    candidates = sorted(Query.load(run / "cycle_00" / "candidates.csv").index.tolist())
    assert _index(run, "unlabeled_1") == candidates and len(candidates) == 16


def test_class_difficulty_and_a_second_view(tmp_path: Path) -> None:
    """Positives of both processes count: each labeled image is matched on one of them, every epoch."""
    scenes = ("scale=smoke", "model._target_=pair_detector.PairSsd", "+data/pair=strong", "trainer.max_epochs=2")
    run = _run(tmp_path, *scenes, "acquisition=dcus", "data.labeled_fraction=0.5")
    assert _stages(run, 0) == ["fit", "test", "predict", "select"]
    with (run / "cycle_00" / DIFFICULTY).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["class"] for row in rows] == [str(digit) for digit in range(10)]
    assert all(0 < float(row["difficulty"]) <= 1 for row in rows) and sum(int(row["positives"]) for row in rows) > 0
