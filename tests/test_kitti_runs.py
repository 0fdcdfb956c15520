"""Whole runs on a tiny KITTI: what is measured, and that no label of an unlabeled image, region or level leaks."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command import alpl
from fake.kitti import FakeObject, make_kitti, write_labels
from test_resume import contents, harness, only_run

from alpl.pool import Pool
from alpl.runs.run_folder import RunFolder

ROOT = Path(__file__).parents[1]
TRAIN, VAL = [f"{number:06d}" for number in range(12)], [f"{number:06d}" for number in range(20, 23)]


def run_of(root: Path) -> list[str]:
    return [
        "data=kitti", f"data.source.root={root}", "data.num_workers=0", "data.batch_size=4", "model=ssd_tiny",
        "model.metric._target_=alpl.metrics.coco_beside_kitti.COCOBesideKITTI", "model.scheduler=null",
        "trainer=digit_scenes", "trainer.max_epochs=2", "trainer.max_steps=-1", "acquisition=detection_entropy",
        "schedule.cycles=1", "acquisition.score_thresh=0.01",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_run_measures_coco_s_and_kitti_s_own(tmp_path: Path) -> None:
    root = make_kitti(tmp_path / "kitti", TRAIN[:4], VAL[:1])
    result = alpl(tmp_path / "runs", *run_of(root), "trainer.max_epochs=1", "schedule.cycles=0")
    assert result.status == 0, result.err
    measured = json.loads((result.run_folder() / "cycle_00" / "metrics.json").read_text())
    names = ["map", "map50", "map75", "kitti_easy", "kitti_moderate", "kitti_hard"]
    assert all(0 <= measured[f"test/{name}"] <= 1 for name in names)
    assert len(measured["test/map_per_class"]) == 3


@pytest.mark.slow
def test_labels_of_unlabeled_images_reach_nothing(tmp_path: Path) -> None:
    root = make_kitti(tmp_path / "kitti", TRAIN, VAL)
    true = alpl(tmp_path / "true", *run_of(root)).run_folder()
    labeled = Pool.load(true / "cycle_01" / "pool.csv").labeled.tolist()
    other = Path(shutil.copytree(root, tmp_path / "other"))
    wrong = [FakeObject("Pedestrian", (3.0, 3.0, 90.0, 40.0), "0.40", 2), FakeObject("DontCare", truncated=-1)]
    for row in set(range(len(TRAIN))) - set(labeled):
        write_labels(other, TRAIN[row], wrong)
    scrambled = alpl(tmp_path / "scrambled", *run_of(other)).run_folder()
    names = [path.relative_to(true) for path in sorted(true.rglob("cycle_*/*")) if path.suffix in {".csv", ".pt"}]
    assert {name.name for name in names} >= {"model.pt", "query.csv"}
    for name in names:
        assert (true / name).read_bytes() == (scrambled / name).read_bytes(), name
    write_labels(other, TRAIN[labeled[0]], wrong)  # the scrambling was real
    seen = alpl(tmp_path / "seen", *run_of(other), "schedule.cycles=0").run_folder()
    assert (seen / "cycle_00" / "model.pt").read_bytes() != (true / "cycle_00" / "model.pt").read_bytes()


@pytest.mark.slow
def test_a_killed_run_equals_an_undisturbed_one(tmp_path: Path) -> None:
    root = make_kitti(tmp_path / "kitti", TRAIN, VAL)
    overrides = [*run_of(root), "checkpoint_every_s=0"]
    assert harness(tmp_path / "whole", 0, 1.0, *overrides)["status"] == 0
    whole = only_run(tmp_path / "whole")
    seconds = sum(entry.get("seconds", 0) for entry in RunFolder(whole).journal)
    outcome = harness(tmp_path / "killed", 2, seconds / 2, *overrides)
    killed = only_run(tmp_path / "killed")
    assert outcome["status"] == 0 and outcome["killed"] >= 1, outcome
    assert contents(killed).keys() == contents(whole).keys()
    different = [name for name, data in contents(whole).items() if contents(killed)[name] != data]
    assert [name for name in different if name != "config.yaml"] == []  # the folders' own paths stand there


@pytest.mark.slow
def test_two_processes_measure_what_one_does(tmp_path: Path) -> None:
    root = make_kitti(tmp_path / "kitti", TRAIN[:6], VAL)  # of three test images one process has two
    small = [*run_of(root), "trainer.max_epochs=1", "schedule.cycles=0", "schedule.initial.size=6"]
    single = alpl(tmp_path / "one", *small).run_folder()
    two = ["trainer.devices=2", "trainer.strategy=ddp", "data.batch_size=2", f"paths.runs={tmp_path / 'two'}"]
    process = subprocess.run(
        [sys.executable, "-m", "alpl", *small, *two],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True,
        text=True, timeout=180, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    (both,) = {path.parent for path in (tmp_path / "two").rglob("run.json")}
    names = [set(json.loads((run / "cycle_00" / "metrics.json").read_text())) for run in (single, both)]
    assert names[0] == names[1] and "test/kitti_moderate" in names[1]
