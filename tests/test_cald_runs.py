"""Whole runs of CALD: objects of unlabeled images reach no view, a killed run equals an undisturbed one."""

import csv
from pathlib import Path

import pytest
from command import alpl
from test_detection_runs import scramble
from test_resume import contents, harness, only_run

from alpl.pool import Pool
from alpl.runs.run_folder import RunFolder

# a detector that has seen few small batches is sure of nothing: its detections need no score
SMALL = [
    "data=digit_scenes", "+data.source.num_train=48", "+data.source.num_test=10", "data.batch_size=8",
    "schedule.initial.size=24", "schedule.budget=8", "schedule.cycles=1", "trainer.max_epochs=2",
    "trainer.max_steps=-1", "model.scheduler=null", "++model.acquisition.score_thresh=0.0",
    "++model.acquisition.max_detections=20",
]  # fmt: skip
ROWS = [("centernet_tiny", "cald", 8), ("ssd_tiny", "cald_as_released", 2)]  # after less, all images look alike to it


@pytest.mark.slow
@pytest.mark.parametrize(("model", "method", "epochs"), ROWS)
def test_objects_of_unlabeled_images_reach_no_view(
    tmp_path: Path, monkeypatch, model: str, method: str, epochs: int
) -> None:
    overrides = [*SMALL, f"model={model}", f"method={method}", f"trainer.max_epochs={epochs}"]
    true = alpl(tmp_path / "true", *overrides)
    assert true.status == 0, true.err
    folder = true.run_folder()
    with (folder / "cycle_00" / "candidates.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 10  # 1.2 times the budget, up to a whole image
    with (folder / "cycle_00" / "query.csv").open() as stream:
        utilities = [float(row["utility"]) for row in csv.DictReader(stream)]
    assert len(utilities) == 8 and len(set(utilities)) > 1
    scramble(monkeypatch, kept=Pool.load(folder / "cycle_00" / "pool.csv").labeled)
    wrong = alpl(tmp_path / "wrong", *overrides).run_folder()
    for name in ("pool.csv", "candidates.csv", "query.csv"):
        assert (folder / "cycle_00" / name).read_bytes() == (wrong / "cycle_00" / name).read_bytes()


@pytest.mark.slow
def test_killed_at_random_moments_equals_undisturbed(tmp_path: Path) -> None:
    overrides = [*SMALL, "model=centernet_tiny", "method=cald", "checkpoint_every_s=0", "keep_predictions=true"]
    assert harness(tmp_path / "whole", 0, 1.0, *overrides)["status"] == 0
    whole = only_run(tmp_path / "whole")
    seconds = sum(entry.get("seconds", 0) for entry in RunFolder(whole).journal)
    outcome = harness(tmp_path / "killed", 3, seconds / 3, *overrides)
    killed = only_run(tmp_path / "killed")
    assert outcome["status"] == 0 and outcome["killed"] >= 1, outcome
    assert contents(killed).keys() == contents(whole).keys()
    different = [name for name, data in contents(whole).items() if contents(killed)[name] != data]
    assert [name for name in different if name != "config.yaml"] == []  # the folders' own paths stand there
