"""What learners plan, and a two-model run on digits."""

import csv
import json
from pathlib import Path

import pytest
import torch
from command import alpl
from test_resume import contents, harness, only_run

from alpl.acquisition import MostCertain
from alpl.data.digits import Digits
from alpl.errors import ConfigError
from alpl.labeling.pseudo_labels import AbstractPseudoLabels
from alpl.learning import Fit, Label, Members, TeacherStudent
from alpl.pool import Pool

RUN = (
    "data=digits",
    "acquisition=entropy",
    "learner=two_models",
    "learner.labeler.amount=100",
    "schedule.initial.size=40",
    "schedule.budget=20",
    "schedule.cycles=2",
    "trainer.max_epochs=2",
    "num_threads=1",
)


def test_members_are_fitted_one_after_the_other() -> None:
    assert Members().steps(3) == [Fit("fit", 0, None, watched=True)]
    assert Members(2, warm_start=True).steps(0) == [Fit("fit", 0, None, watched=True), Fit("fit_1", 1)]
    warm = Members(2, warm_start=True).steps(2)
    assert [step.start for step in warm if isinstance(step, Fit)] == [(1, 0), (1, 1)]
    with pytest.raises(ConfigError, match="num_members must be >= 1, got 0"):
        Members(0)


@pytest.mark.parametrize(
    ("initialize", "starts"),
    [
        ("latest", [(None, (0, 0)), ((0, 1), (1, 0))]),
        ("own", [(None, None), ((0, 0), (0, 1))]),
        ("scratch", [(None, None), (None, None)]),
    ],
)
def test_whose_weights_each_model_goes_on_from(initialize, starts) -> None:
    learner = TeacherStudent(MostCertain(5), initialize)
    for cycle, expected in enumerate(starts):
        teacher, label, student = learner.steps(cycle)
        assert label == Label(0) and (teacher.start, student.start) == expected
        assert teacher.watched and not teacher.takes_pseudo and not student.watched and student.takes_pseudo


def test_refuses_what_is_no_learner() -> None:
    with pytest.raises(ConfigError, match=r"learner\.labeler must make pseudo-labels, got str"):
        TeacherStudent("x")
    with pytest.raises(ConfigError, match=r"learner\.initialize must be latest, own or scratch, got 'first'"):
        TeacherStudent(MostCertain(5), "first")


def test_two_models(tmp_path: Path) -> None:
    result = alpl(tmp_path, *RUN)
    assert result.status == 0, result.err
    run = result.run_folder()
    stages = [(entry.get("cycle"), entry["stage"]) for entry in map(json.loads, _lines(run / "journal.jsonl"))]
    first = ["fit", "label", "fit_student", "test", "predict", "select"]
    assert stages[:6] == [(0, stage) for stage in first]
    for cycle in range(2):
        pool = Pool.load(run / f"cycle_0{cycle}" / "pool.csv")
        pseudo = AbstractPseudoLabels.load(run / f"cycle_0{cycle}" / "pseudo_labels.csv")
        later = Pool.load(run / f"cycle_0{cycle + 1}" / "pool.csv")
        assert len(pseudo.index) == 100 and not torch.isin(pseudo.index, pool.labeled).any()
        assert not torch.isin(pseudo.index, later.labeled).any()  # none of them is asked for
    with (run / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {"test/accuracy", "teacher/accuracy", "num_pseudo_images", "share_pseudo_right"} <= rows[0].keys()
    assert [row["num_pseudo_images"] for row in rows] == ["100"] * 3
    assert all(0 <= float(row["share_pseudo_right"]) <= 1 for row in rows)
    assert (run / "cycle_00" / "model.pt").read_bytes() != (run / "cycle_00" / "model_1.pt").read_bytes()


@pytest.mark.slow
def test_without_pseudo_labels_the_student_is_an_ensembles_second_member(tmp_path: Path) -> None:
    still = (*RUN[4:], "schedule.cycles=1")
    none = (
        *(f"~learner.labeler.{name}" for name in ("amount", "by", "label")),
        "learner.labeler._target_=alpl.acquisition.ConfidentImages",
        "+learner.labeler.delta=0",
        "+learner.labeler.decay=0",
        "learner.initialize=scratch",
    )
    two = alpl(tmp_path / "two", *RUN[:3], *none, *still).run_folder()
    ensemble = alpl(tmp_path / "ensemble", *RUN[:2], *still, "num_members=2").run_folder()
    name = "cycle_00/model_1.pt"
    assert (two / name).read_bytes() == (ensemble / name).read_bytes()


@pytest.mark.slow
def test_true_labels_of_unlabeled_images_reach_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true = alpl(tmp_path / "true", *RUN).run_folder()
    kept = Pool.load(true / "cycle_02" / "pool.csv").labeled
    load = Digits.load

    def scrambled(self):
        splits = load(self)
        targets = (splits.train.targets + 3) % 10
        targets[kept] = splits.train.targets[kept]
        splits.train.targets[:] = targets
        return splits

    monkeypatch.setattr(Digits, "load", scrambled)
    wrong = alpl(tmp_path / "wrong", *RUN).run_folder()
    for name in ("model.pt", "model_1.pt", "pool.csv", "pseudo_labels.csv", "query.csv"):
        for cycle in range(2):
            path = Path(f"cycle_0{cycle}") / name
            assert (true / path).read_bytes() == (wrong / path).read_bytes(), path


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("num_members=2",), "num_members and warm_start must be 1 and false beside a learner"),
        (("pseudo_labels=most_certain",), "pseudo_labels must be null where the learner makes its own"),
        (("~callbacks.prediction_tracker",), "learner.labeler MostCertain needs HISTORY"),
    ],
)
def test_refused_before_training(tmp_path: Path, overrides, message: str) -> None:
    result = alpl(tmp_path, *RUN, *overrides)
    assert result.status == 2 and message in result.err and result.err.count("\n") == 1


@pytest.mark.slow
def test_one_model_may_label_images_too(tmp_path: Path) -> None:
    """CEAL's scheme: what the model is certain of after the query trains the next one."""
    ceal = ("pseudo_labels=most_certain", "pseudo_labels.amount=50", *RUN[4:], "acquisition=entropy")
    run = alpl(tmp_path, "data=digits", *ceal).run_folder()
    with (run / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["num_pseudo_images"] for row in rows] == ["0", "50", "50"]
    for cycle in range(2):
        pseudo = AbstractPseudoLabels.load(run / f"cycle_0{cycle}" / "pseudo_labels.csv")
        later = Pool.load(run / f"cycle_0{cycle + 1}" / "pool.csv")
        assert not torch.isin(pseudo.index, later.labeled).any()


@pytest.mark.slow
def test_killed_at_random_moments_equals_undisturbed(tmp_path: Path) -> None:
    overrides = [*RUN, "checkpoint_every_s=0", "trainer.max_epochs=4"]
    assert harness(tmp_path / "whole", 0, 1.0, *overrides)["status"] == 0
    outcome = harness(tmp_path / "killed", 6, 0.5, *overrides)
    whole, killed = only_run(tmp_path / "whole"), only_run(tmp_path / "killed")
    assert outcome["status"] == 0 and outcome["killed"] >= 2, outcome
    assert contents(killed).keys() == contents(whole).keys()
    different = [name for name, data in contents(whole).items() if contents(killed)[name] != data]
    assert [name for name in different if name != "config.yaml"] == []


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()
