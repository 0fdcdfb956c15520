"""Whole runs of PPAL's first stage on digit scenes: what is written, what reaches it, what is refused."""

import csv
from pathlib import Path

import pytest
from command import alpl
from test_detection_runs import scramble
from test_resume import contents, harness, only_run

from alpl.callbacks.class_difficulty import DIFFICULTY
from alpl.labeling.pseudo_labels import PseudoLabels
from alpl.pool import Pool
from alpl.runs.run_folder import RunFolder

SMALL = [
    "data=digit_scenes", "+data.source.num_train=60", "+data.source.num_test=8", "data.batch_size=8",
    "schedule.initial.size=16", "schedule.budget=8", "trainer.max_epochs=2", "trainer.max_steps=-1",
    "model.scheduler=null",
]  # fmt: skip


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        "ssd_tiny",
        *(
            pytest.param(f"{name}_tiny", marks=pytest.mark.slow)
            for name in ("retinanet", "fcos", "faster_rcnn", "atss", "ddod", "centernet")
        ),
    ],
)
def test_every_detector_can_be_asked(tmp_path: Path, model: str) -> None:
    overrides = [*SMALL, "acquisition=dcus", f"model={model}", "schedule.cycles=1", "trainer.max_epochs=1"]
    result = alpl(tmp_path, *overrides)
    assert result.status == 0, result.err
    rows = rows_of(result.run_folder() / "cycle_00" / DIFFICULTY)
    assert [row["class"] for row in rows] == [str(digit) for digit in range(10)]
    seen = [row for row in rows if int(row["positives"])]
    assert len(seen) > 5 and all(0 < float(row["difficulty"]) <= 1 for row in rows)
    assert any(float(row["difficulty"]) < 1 for row in seen)


@pytest.mark.slow
def test_the_two_stages_of_ppal_run(tmp_path: Path) -> None:
    result = alpl(tmp_path, *SMALL, "acquisition=dcus_then_ccms", "model=retinanet_tiny", "schedule.cycles=1")
    assert result.status == 0, result.err
    assert len(rows_of(result.run_folder() / "cycle_00" / "query.csv")) == 8


@pytest.mark.slow
def test_a_run_that_asks_for_no_difficulty_has_none(tmp_path: Path) -> None:
    """And trains to the same weights: nothing is drawn for it."""
    overrides = [*SMALL, "model=retinanet_tiny", "schedule.cycles=1"]
    asked = alpl(tmp_path / "asked", *overrides, "acquisition=dcus").run_folder()
    plain = alpl(tmp_path / "plain", *overrides, "acquisition=frequency_then_ccms").run_folder()
    assert not list(plain.rglob(DIFFICULTY)) and len(list(asked.rglob(DIFFICULTY))) == 2
    assert (asked / "cycle_00" / "model.pt").read_bytes() == (plain / "cycle_00" / "model.pt").read_bytes()


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("extra", "hint"),
    [
        (["data=digits"], "no classifier does: it is of detections"),
        ([*SMALL, "model=retinanet_tiny", "callbacks=none"], "callbacks=tracking"),
    ],
)
def test_what_nobody_tells_is_refused_before_training(tmp_path: Path, extra: list[str], hint: str) -> None:
    result = alpl(tmp_path, *extra, "acquisition=dcus")
    assert result.status == 2 and "DIFFICULTY" in result.err and hint in result.err
    assert result.err.count("\n") == 1


@pytest.mark.slow
def test_objects_of_unlabeled_images_reach_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they are trained on as pseudo-labels, which do not count."""
    overrides = [*SMALL, "acquisition=dcus", "model=ssd_tiny", "pseudo_labels=confidence", "schedule.cycles=1"]
    overrides += ["pseudo_labels.score_thresh=0.1", "schedule.initial.size=24", "trainer.max_epochs=3"]
    true = alpl(tmp_path / "true", *overrides).run_folder()
    scramble(monkeypatch, kept=Pool.load(true / "cycle_01" / "pool.csv").labeled)
    wrong = alpl(tmp_path / "wrong", *overrides).run_folder()
    assert len(PseudoLabels.load(true / "cycle_00" / "pseudo_labels.csv").image)
    for cycle in range(2):
        for name in (DIFFICULTY, "model.pt", "pool.csv"):
            path = Path(f"cycle_0{cycle}") / name
            assert (true / path).read_bytes() == (wrong / path).read_bytes(), path


@pytest.mark.slow
def test_a_killed_run_leaves_the_same_difficulties(tmp_path: Path) -> None:
    overrides = [*SMALL, "acquisition=dcus", "model=retinanet_tiny", "schedule.cycles=1", "trainer.max_epochs=4"]
    overrides += ["checkpoint_every_s=0"]
    assert harness(tmp_path / "whole", 0, 1.0, *overrides)["status"] == 0
    whole = only_run(tmp_path / "whole")
    seconds = sum(entry.get("seconds", 0) for entry in RunFolder(whole).journal)
    outcome = harness(tmp_path / "killed", 4, seconds / 4, *overrides)
    killed = only_run(tmp_path / "killed")
    assert outcome["status"] == 0 and outcome["killed_in_fit"], outcome
    assert contents(killed).keys() == contents(whole).keys()
    different = [name for name, data in contents(whole).items() if contents(killed)[name] != data]
    assert [name for name in different if name != "config.yaml"] == []
    assert any(name.endswith(DIFFICULTY) for name in contents(whole))
