"""Whole runs of Elezi's method on digit scenes: no label leaks, a killed run equals an undisturbed one."""

import csv
from pathlib import Path

import pytest
import torch
from command import alpl
from test_resume import contents, harness, only_run

from alpl.boxes.objects import DetectionSplits, Objects, ObjectTable
from alpl.data.digit_scenes import DigitScenes
from alpl.labeling.pseudo_labels import PseudoLabels
from alpl.pool import Pool
from alpl.runs.run_folder import RunFolder

# a detector that has seen 8 small batches is sure of little: thresholds that it reaches
RUN = [
    "data=digit_scenes", "method=elezi", "+data.source.num_train=90", "+data.source.num_test=20", "data.batch_size=8",
    "schedule.initial.size=30", "schedule.budget=10", "schedule.cycles=1",
    "trainer.max_epochs=2", "trainer.max_steps=-1",
    "model.scheduler=null", "pseudo_labels.score_thresh=0.15", "acquisition.score_thresh=0.05",
    "model.consistency.pairing=as_released",
]  # fmt: skip


def scramble(monkeypatch: pytest.MonkeyPatch, kept: torch.Tensor) -> None:
    """Give every training scene but ``kept`` other objects, as if the benchmark's file had them."""
    load = DigitScenes.load

    def scrambled(self: DigitScenes) -> DetectionSplits:
        splits = load(self)
        keep = set(kept.tolist())
        objects = [each if i in keep else _wrong(each) for i, each in enumerate(splits.train_objects)]
        joined = Objects(*(torch.cat([getattr(o, name) for o in objects]) for name in ("boxes", "labels", "difficult")))
        table = ObjectTable(joined, torch.tensor([len(each) for each in objects]))
        return DetectionSplits(splits.train, table, splits.test, splits.test_objects, splits.classes, splits.excluded)

    monkeypatch.setattr(DigitScenes, "load", scrambled)


def _wrong(objects: Objects) -> Objects:
    """One object less, the others of another class and size."""
    return Objects((objects.boxes / 2)[1:], ((objects.labels + 3) % 10)[1:], objects.difficult[1:])


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(["model.consistency.pairing=as_written"], id="half", marks=pytest.mark.slow),
        pytest.param(["data.labeled_fraction=random"], id="random", marks=pytest.mark.slow),
        pytest.param(
            ["model._target_=pair_detector.PairSsd", "+data/pair=strong"], id="second_view", marks=pytest.mark.slow
        ),
    ],
)
def test_objects_of_unlabeled_images_reach_nothing(tmp_path: Path, monkeypatch, extra: list[str]) -> None:
    overrides = [*RUN, *extra]
    true = alpl(tmp_path / "true", *overrides).run_folder()
    scramble(monkeypatch, kept=Pool.load(true / "cycle_01" / "pool.csv").labeled)
    wrong = alpl(tmp_path / "wrong", *overrides).run_folder()
    suffixes = {".csv", ".pt", ".json"}
    names = [path.relative_to(true) for path in sorted(true.rglob("cycle_*/*")) if path.suffix in suffixes]
    assert len(names) >= 10 and {name.name for name in names} >= {"pseudo_labels.csv", "model.pt", "query.csv"}
    for name in names:
        assert (true / name).read_bytes() == (wrong / name).read_bytes(), name
    pseudo = PseudoLabels.load(true / "cycle_00" / "pseudo_labels.csv")
    later = Pool.load(true / "cycle_01" / "pool.csv")
    assert len(pseudo.image) and not (later.cycle[pseudo.index] >= 0).any()  # some, and of unlabeled images alone
    # the scrambling was real: a run that buys another image sees it
    other = alpl(tmp_path / "other", *overrides, "schedule.initial.seed=5", "schedule.cycles=0").run_folder()
    assert (other / "cycle_00" / "model.pt").read_bytes() != (true / "cycle_00" / "model.pt").read_bytes()


@pytest.mark.slow
def test_pseudo_labels_are_trained_on(tmp_path: Path) -> None:
    with_them = alpl(tmp_path / "with", *RUN).run_folder()
    without = alpl(tmp_path / "without", *RUN, "pseudo_labels.score_thresh=1").run_folder()

    def same(name: str) -> bool:
        return (with_them / name).read_bytes() == (without / name).read_bytes()

    assert same("cycle_00/model.pt") and same("cycle_01/pool.csv") and not same("cycle_01/model.pt")
    with (with_them / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for cycle, row in enumerate(rows):
        expected = 0, 0
        if cycle:
            pseudo = PseudoLabels.load(with_them / f"cycle_0{cycle - 1}" / "pseudo_labels.csv")
            expected = len(pseudo.index), len(pseudo.image)
        assert (int(row["num_pseudo_images"]), int(row["num_pseudo_objects"])) == expected
        assert int(row["num_labeled_objects"]) >= int(row["num_labeled"])


def test_pseudo_labels_need_a_detector(tmp_path: Path) -> None:
    result = alpl(tmp_path, "data=digits", "pseudo_labels=confidence")
    assert result.status == 2 and "pseudo_labels ConfidentObjects needs BOXES" in result.err
    assert result.err.count("\n") == 1


@pytest.mark.slow
def test_killed_at_random_moments_equals_undisturbed(tmp_path: Path) -> None:
    overrides = [*RUN, "checkpoint_every_s=0", "trainer.max_epochs=4", "keep_predictions=true"]
    assert harness(tmp_path / "whole", 0, 1.0, *overrides)["status"] == 0
    whole = only_run(tmp_path / "whole")
    seconds = sum(entry.get("seconds", 0) for entry in RunFolder(whole).journal)
    outcome = harness(tmp_path / "killed", 5, seconds / 5, *overrides)
    killed = only_run(tmp_path / "killed")
    assert outcome["status"] == 0 and outcome["killed"] >= 2 and outcome["killed_in_fit"], outcome
    assert contents(killed).keys() == contents(whole).keys()
    different = [name for name, data in contents(whole).items() if contents(killed)[name] != data]
    assert [name for name in different if name != "config.yaml"] == []  # the folders' own paths stand there
