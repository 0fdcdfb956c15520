"""What each stage of an acquisition has predicted: its own needs, for its own images."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command import alpl
from test_resume import contents, harness, only_run

from alpl.cycle.looking import _sources
from alpl.pool import Pool
from alpl.predictions import Need

RUN = ("scale=smoke", "model=retinanet_tiny", "trainer.max_epochs=1", "num_threads=1", "keep_predictions=true")
SURE_OF_NOTHING = "++model.acquisition.score_thresh=0"  # a network of one epoch


@pytest.mark.parametrize(
    ("needs", "looks_again", "expected"),
    [
        ([Need.POSTERIOR], False, [0]),
        ([Need.NOTHING], False, [None]),
        ([Need.POSTERIOR, Need.FEATURES | Need.BOXES], False, [0, 1]),
        ([Need.POSTERIOR | Need.BOXES, Need.BOXES], False, [0, 0]),
        ([Need.POSTERIOR | Need.BOXES, Need.BOXES], True, [0, 1]),  # the module detects otherwise the second time
        ([Need.NOTHING, Need.FEATURES], False, [None, 1]),
        ([Need.FEATURES, Need.NOTHING, Need.FEATURES], False, [0, None, 0]),
        ([Need.FEATURES, Need.FEATURES | Need.LABELED], False, [0, 1]),
        ([Need.FEATURES | Need.LABELED, Need.FEATURES | Need.LABELED], False, [0, 0]),
        ([Need.HISTORY, Need.CLASS_COUNTS], False, [None, None]),
    ],
)
def test_whose_predictions_each_stage_reads(needs, looks_again, expected) -> None:
    assert _sources(needs, looks_again=looks_again) == expected


def _index(path: Path) -> list[int]:
    with path.open() as stream:
        return [int(row["index"]) for row in csv.DictReader(stream)]


@pytest.mark.slow
def test_features_are_predicted_for_the_candidates_alone(tmp_path: Path) -> None:
    result = alpl(tmp_path, *RUN, "acquisition=entropy_then_ccms", "acquisition.ratio=2")
    assert result.status == 0, result.err
    cycle = result.run_folder() / "cycle_00"
    stages = [json.loads(line)["stage"] for line in (result.run_folder() / "journal.jsonl").read_text().splitlines()]
    assert stages[:6] == ["fit", "test", "predict", "narrow", "predict_1", "select"]
    pool = Pool.load(cycle / "pool.csv")
    first, second = cycle / "predictions" / "unlabeled", cycle / "predictions" / "unlabeled_1"
    assert np.load(first / "index.npy").tolist() == pool.unlabeled.tolist() and not (first / "features.npy").exists()
    candidates = _index(cycle / "candidates.csv")
    assert len(candidates) == 16 and np.load(second / "index.npy").tolist() == sorted(candidates)
    assert (second / "features.npy").exists()
    assert set(_index(cycle / "query.csv")) <= set(candidates)
    assert (cycle / "gallery" / "gallery.json").exists()  # drawn from the first look, which has the utilities


@pytest.mark.slow
def test_a_second_look_may_detect_otherwise(tmp_path: Path) -> None:
    again = "+model.selection={_target_: alpl.modules.detector.Suppression, score_thresh: 0.0, max_detections: 5}"
    result = alpl(tmp_path, *RUN, "acquisition=entropy_then_ccms", "acquisition.ratio=2", again, SURE_OF_NOTHING)
    assert result.status == 0, result.err
    cycle = result.run_folder() / "cycle_00" / "predictions"
    rows = torch.from_numpy(np.load(cycle / "unlabeled_1" / "row.npy"))
    assert rows.bincount().max() <= 5 < torch.from_numpy(np.load(cycle / "unlabeled" / "row.npy")).bincount().max()


@pytest.mark.slow
def test_random_candidates_need_no_first_prediction(tmp_path: Path) -> None:
    result = alpl(tmp_path, *RUN, "acquisition=random_then_ccms")
    assert result.status == 0, result.err
    cycle = result.run_folder() / "cycle_00"
    assert sorted(path.name for path in (cycle / "predictions").iterdir()) == ["unlabeled_1"]
    assert (cycle / "gallery" / "gallery.json").exists()


@pytest.mark.slow
def test_killed_at_random_moments_equals_undisturbed(tmp_path: Path) -> None:
    overrides = [*RUN, "acquisition=entropy_then_ccms", "acquisition.ratio=2", "checkpoint_every_s=0"]
    assert harness(tmp_path / "whole", 0, 1.0, *overrides)["status"] == 0
    outcome = harness(tmp_path / "killed", 6, 0.7, *overrides)
    whole, killed = only_run(tmp_path / "whole"), only_run(tmp_path / "killed")
    assert outcome["status"] == 0 and outcome["killed"] >= 2, outcome
    assert contents(killed).keys() == contents(whole).keys()
    different = [name for name, data in contents(whole).items() if contents(killed)[name] != data]
    assert [name for name in different if name != "config.yaml"] == []
