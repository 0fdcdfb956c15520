"""Whole runs of SoftTeacher on digit scenes: no label leaks, a killed run equals an undisturbed one, two processes."""

from pathlib import Path

import pytest
import torch
from command import alpl
from test_detection_runs import scramble
from test_resume import contents, harness, only_run

from alpl.callbacks.class_difficulty import DIFFICULTY
from alpl.machine.files import read_tensors
from alpl.pool import Pool
from alpl.runs.run_folder import RunFolder

pytestmark = pytest.mark.slow

# a teacher that has seen 4 small batches is sure of little: thresholds that it reaches
SMALL = [
    "data=digit_scenes", "model=soft_teacher_tiny", "acquisition=dcus", "+data.source.num_train=40",
    "+data.source.num_test=4", "data.batch_size=5", "data.labeled_fraction=0.4", "schedule.initial.size=8",
    "schedule.budget=4", "schedule.cycles=1", "trainer.max_epochs=2", "trainer.max_steps=-1", "model.scheduler=null",
    "model.network.roi_size=3", "model.network.sampling.batch_size_per_image=8", "gallery=0",
    "model.teaching.jitters=2", "model.teaching.score_thresh=0.01", "model.teaching.sure_thresh=0.02",
    "model.teaching.variance_thresh=1",
]  # fmt: skip


def rows_of(folder: Path) -> list[dict[str, str]]:
    lines = (folder / "epochs.csv").read_text().splitlines()
    return [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]


def test_objects_of_unlabeled_images_reach_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though their second views are trained on, with what a teacher finds in the first."""
    true = alpl(tmp_path / "true", *SMALL).run_folder()
    scramble(monkeypatch, kept=Pool.load(true / "cycle_01" / "pool.csv").labeled)
    wrong = alpl(tmp_path / "wrong", *SMALL).run_folder()
    for cycle in range(2):
        folder = true / f"cycle_0{cycle}"
        assert sum(float(row["train/pseudo_boxes"]) for row in rows_of(folder)) > 0
        for name in (DIFFICULTY, "model.pt", "pool.csv", "epochs.csv"):
            assert (folder / name).read_bytes() == (wrong / folder.name / name).read_bytes(), (cycle, name)
    other = alpl(tmp_path / "other", *SMALL, "schedule.initial.seed=5", "schedule.cycles=0").run_folder()
    assert (other / "cycle_00" / "model.pt").read_bytes() != (true / "cycle_00" / "model.pt").read_bytes()


def test_a_killed_run_leaves_the_same_teacher(tmp_path: Path) -> None:
    overrides = [*SMALL, "checkpoint_every_s=0", "schedule.cycles=0", "trainer.max_epochs=3", "acquisition=random"]
    assert harness(tmp_path / "whole", 0, 1.0, *overrides)["status"] == 0
    whole = only_run(tmp_path / "whole")
    seconds = sum(entry.get("seconds", 0) for entry in RunFolder(whole).journal)
    outcome = harness(tmp_path / "killed", 4, seconds / 3, *overrides)
    killed = only_run(tmp_path / "killed")
    assert outcome["status"] == 0 and outcome["killed_in_fit"], outcome
    different = [name for name, data in contents(whole).items() if contents(killed)[name] != data]
    assert [name for name in different if name != "config.yaml"] == []
    weights = read_tensors(whole / "cycle_00" / "model.pt")
    name = "network.roi_heads.box_predictor.cls_score.weight"
    assert not torch.equal(weights[f"student.{name}"], weights[f"teacher.{name.removeprefix('network.')}"])


def test_two_processes_share_one_teacher(tmp_path: Path) -> None:
    from test_ddp import _alpl

    (tmp_path / "digests").mkdir()
    told = [
        "+callbacks.digest._target_=tests.teacher_digest.TeacherDigest",
        f"+callbacks.digest.folder={tmp_path}/digests",
    ]
    run = _alpl(tmp_path, *SMALL, "schedule.cycles=0", "acquisition=random", "trainer.max_epochs=2", *told)
    digests = {path.name: path.read_text() for path in (tmp_path / "digests").iterdir()}
    assert set(digests) == {"teacher_of_0", "teacher_of_1"} and len(set(digests.values())) == 1
    weights = read_tensors(run / "cycle_00" / "model.pt")
    assert all(bool(torch.isfinite(value).all()) for value in weights.values() if value.is_floating_point())
    assert len(rows_of(run / "cycle_00")) == 2


def test_without_second_views_a_run_is_refused(tmp_path: Path) -> None:
    result = alpl(tmp_path, *SMALL, "data.pair=null", "data.labeled_pair=null")
    assert result.status == 2 and "data.pair must be given" in result.err and result.err.count("\n") == 1
