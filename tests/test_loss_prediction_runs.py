"""Runs whose networks learn to predict their own losses: what they find, and that nothing leaks, is lost or hangs."""

import csv
from pathlib import Path

import pytest
import torch
from command import alpl
from omegaconf import OmegaConf
from test_ddp import _alpl
from test_detection_runs import scramble as scramble_objects
from test_loop import scramble
from test_resume import contents, harness, only_run

from alpl.experiment import make_experiment
from alpl.machine.files import read_tensors
from alpl.pool import Pool
from alpl.predictions import Predictions
from alpl.runs.run_folder import RunFolder

SHARED = ["data=digits", "method=llal_subset", "schedule.cycles=1", "acquisition.ratio=3.0"]
SMALL = [*SHARED, "trainer.max_epochs=3"]


def column(path: Path, name: str) -> list[float]:
    with path.open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def test_a_classifier_asks_for_the_largest_losses_of_a_random_subset(tmp_path: Path) -> None:
    folder = alpl(tmp_path, *SMALL).run_folder() / "cycle_00"
    utility = column(folder / "query.csv", "utility")
    assert utility == sorted(utility, reverse=True) and len(set(utility)) > 5
    assert len(column(folder / "candidates.csv", "index")) == 3 * len(utility)
    assert all(loss > 0 for loss in column(folder / "epochs.csv", "train/ranking_loss"))


@pytest.mark.slow
def test_labels_of_unlabeled_images_reach_no_predicted_loss(tmp_path: Path, monkeypatch) -> None:
    true = alpl(tmp_path / "true", *SMALL).run_folder()
    scramble(monkeypatch, Pool.load(true / "cycle_01" / "pool.csv").labeled)
    wrong = alpl(tmp_path / "wrong", *SMALL).run_folder()
    for name in ("cycle_00/query.csv", "cycle_00/model.pt", "cycle_01/model.pt"):
        assert (true / name).read_bytes() == (wrong / name).read_bytes(), name


@pytest.mark.slow
def test_objects_of_unlabeled_images_reach_no_predicted_loss(tmp_path: Path, monkeypatch) -> None:
    overrides = ["scale=smoke", "model=faster_rcnn_tiny", "method=llal", "trainer.max_epochs=1", "schedule.cycles=1"]
    true = alpl(tmp_path / "true", *overrides).run_folder()
    scramble_objects(monkeypatch, Pool.load(true / "cycle_01" / "pool.csv").labeled)
    wrong = alpl(tmp_path / "wrong", *overrides).run_folder()
    for name in ("cycle_00/query.csv", "cycle_00/model.pt", "cycle_01/model.pt"):
        assert (true / name).read_bytes() == (wrong / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("model", ["retinanet_tiny", "fcos_tiny"])
def test_dense_detectors_ask_for_the_largest_losses(tmp_path: Path, model: str) -> None:
    overrides = ["scale=smoke", f"model={model}", "method=llal", "trainer.max_epochs=1", "schedule.cycles=1"]
    folder = alpl(tmp_path, *overrides).run_folder() / "cycle_00"
    utility = column(folder / "query.csv", "utility")
    assert utility == sorted(utility, reverse=True) and len(set(utility)) > 3
    assert all(loss > 0 for loss in column(folder / "epochs.csv", "train/ranking_loss"))


@pytest.mark.slow
def test_a_killed_fit_goes_on_with_what_it_has_learned_of_its_losses(tmp_path: Path) -> None:
    overrides = [*SHARED, "trainer.max_epochs=8", "checkpoint_every_s=0", "share_first_cycle=false"]
    assert harness(tmp_path / "whole", 0, 1.0, *overrides)["status"] == 0
    whole = only_run(tmp_path / "whole")
    seconds = sum(entry.get("seconds", 0) for entry in RunFolder(whole).journal)
    outcome = harness(tmp_path / "killed", 3, seconds / 3, *overrides)
    killed = only_run(tmp_path / "killed")
    assert outcome["status"] == 0 and outcome["killed"], outcome
    left = contents(whole)
    assert {n for n, data in contents(killed).items() if left.get(n) != data} <= {"config.yaml"}
    assert left.keys() == contents(killed).keys()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_two_processes_predict_the_losses_that_one_would(tmp_path: Path) -> None:
    """Batches of a pool at random: now and then a process has no pair of labeled images, and must not wait."""
    run = _alpl(tmp_path, *SHARED, "data.labeled_fraction=random", "keep_predictions=true")
    experiment = make_experiment(OmegaConf.load(run / "config.yaml"))
    experiment.data.setup("fit")
    module = experiment.make_module(**experiment.data.module_arguments).eval()
    module.load_state_dict(read_tensors(run / "cycle_00" / "model.pt"))
    seen = Predictions.load(run / "cycle_00" / "predictions" / "unlabeled_1")
    images = experiment.data.normalize(experiment.data.splits.train.images[seen.index])
    with torch.no_grad():
        *_, maps = module.network.with_maps(images)
        torch.testing.assert_close(seen.predicted_loss, module.loss_prediction(maps), rtol=1e-3, atol=1e-4)
