"""What cannot work with the model at hand is refused before any training, once, and without a trace in what runs."""

import re
from pathlib import Path
from unittest import mock

import pytest
from command import TINY, alpl
from test_resume import contents

from alpl import loop
from alpl.predictions import Need
from alpl.preflight import checks

SCENES = ("data=digit_scenes", "+data.source.num_train=60", "+data.source.num_test=5", "schedule.initial.size=20",
          "schedule.budget=5", "schedule.cycles=1")  # fmt: skip
MIXTURE = (*SCENES, "model=ssd_tiny_gmm", "acquisition=almdn_max_all")
FPN = (*SCENES, "model=retinanet_tiny", "method=entropy_then_fpn")

REFUSED = {
    "layers that do not divide the width": (FPN, "num_layers must be 4, .* RetinaNetDetector, got 5$"),
    "layers that divide the width": (
        (*FPN, "acquisition.second.similarity.num_layers=2"),
        "num_layers must be 4, .* RetinaNetDetector, got 2$",
    ),
    "layers of a model that gives one": (
        (*FPN, "acquisition.second.similarity.num_layers=4", "model.image_feature_source=trunk"),
        "num_layers must be 1, .* got 4; model.image_feature_source=pyramid gives",
    ),
    "no uncertainty": (
        (*MIXTURE, "model/head@model.network=plain"),
        "MixtureUncertainty needs UNCERTAINTIES, which neither the model SsdDetector .*model/head@model.network=gmm",
    ),
    "uncertainty of boxes alone": (
        (*MIXTURE, "model/head@model.network=gmm_box"),
        "MixtureUncertainty fails on a trial before training: .* must have class_aleatoric, got NaN: the model's head",
    ),
    "uncertainty of classes alone, of Faster R-CNN": (
        (*SCENES, "model=faster_rcnn_tiny_gmm", "acquisition=almdn_max_box", "model/head@model.network=gmm_class"),
        "MixtureUncertainty fails on a trial before training: .* must have box_aleatoric, got NaN: the model's head",
    ),
    "no features of detections": (
        (*SCENES, "model=ssd_tiny", "acquisition=ccms"),
        "Medoids needs FEATURES, which neither the model SsdDetector .*SSD with model.features",
    ),
    "no features of detections in an ensemble": (
        (*SCENES, "model=retinanet_tiny", "acquisition=ccms", "num_members=2"),
        r"Medoids needs FEATURES, .* RetinaNetDetector in an ensemble of num_members=2 .*\(num_members=1\) provides it",
    ),
    "informativeness of a detector": (
        (*SCENES, "model=ssd_tiny", "informativeness=true"),
        "informativeness must be false for SsdDetector, .*, got true",
    ),
    "a classifier's uncertainty": (
        ("data=digits", "acquisition=almdn_max_all"),
        "MixtureUncertainty needs UNCERTAINTIES, which neither the model Classifier",
    ),
    "a classifier's detections": (
        ("data=digits", "acquisition=noris_objects"),
        "ObjectNoris needs FEATURES, which neither the model Classifier",
    ),
    "layers of a classifier": (
        (
            "data=digits",
            "acquisition._target_=alpl.acquisition.Medoids",
            "+acquisition.similarity={_target_:alpl.acquisition.GlobalSimilarity,num_layers:2}",
        ),
        "num_layers must be 1, .* Classifier, got 2",
    ),
}  # fmt: skip


@pytest.mark.sample(3)
@pytest.mark.parametrize(("overrides", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_before_any_training(tmp_path: Path, overrides, message: str) -> None:
    result = alpl(tmp_path, *overrides)
    assert result.status == 2, result.err
    (line,) = result.err.splitlines()
    assert re.search(message, line), line
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {"error.txt", "lock"}


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    "overrides",
    [
        (*FPN, "acquisition.second.similarity.num_layers=4"),
        MIXTURE,
        (*MIXTURE, "model/head@model.network=gmm_box", "acquisition=almdn_max_box"),
        (*SCENES, "model=ssd_tiny", "acquisition=ccms",
         "model.features={_target_:alpl.modules.detection_features.RoiFeatures,level:1}"),
        (*SCENES, "model=fcos_tiny", "acquisition=detection_entropy", "num_members=2"),
        ("data=digits", "acquisition=bald", "num_members=2", "model.network.dropout=0"),
    ],
    ids=["layers", "mixture", "mixture of boxes", "features", "detectors", "classifiers"],
)  # fmt: skip
def test_what_fits_passes(tmp_path: Path, overrides) -> None:
    with mock.patch.object(loop.ActiveLearning, "run") as run:
        result = alpl(tmp_path, *overrides)
    assert result.status == 0 and run.call_count == 1, result.err


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        (*TINY, "acquisition=bald"),
        pytest.param(
            (*SCENES, "model=ssd_tiny", "acquisition=detection_entropy", "trainer.max_steps=2", "model.scheduler=null",
             "gallery=0"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["classifier", "detector"],
)  # fmt: skip
def test_the_rehearsal_changes_no_byte_of_the_run(tmp_path: Path, overrides) -> None:
    with_it = alpl(tmp_path / "with", *overrides, "keep_predictions=true").run_folder()
    with mock.patch.object(loop, "check_rehearsal"):
        without = alpl(tmp_path / "without", *overrides, "keep_predictions=true").run_folder()
    found, expected = contents(with_it), contents(without)
    assert found.keys() == expected.keys() and "cycle_00/predictions/unlabeled/labels.npy" in found
    different = {name for name, data in expected.items() if found[name] != data}
    assert different <= {"config.yaml", "cost.json"}  # the folders' own paths, and seconds


@pytest.mark.slow
def test_once_at_the_start_and_not_when_a_run_goes_on(tmp_path: Path) -> None:
    with mock.patch.object(loop, "check_rehearsal", wraps=checks.check_rehearsal) as check:
        run = alpl(tmp_path, *TINY, "acquisition=entropy").run_folder()
        assert check.call_count == 1
        _, needs, _, images = check.call_args.args
        assert needs == Need.POSTERIOR and len(images) == 2
        lines = (run / "journal.jsonl").read_text().splitlines()
        (run / "journal.jsonl").write_text(f"{lines[0]}\n")  # the first fit is done
        assert alpl(tmp_path, *TINY, "acquisition=entropy").status == 0
        assert check.call_count == 1
        (run / "journal.jsonl").unlink()
        assert alpl(tmp_path, *TINY, "acquisition=entropy").status == 0
        assert check.call_count == 2


@pytest.mark.slow
def test_without_queries_nothing_is_rehearsed(tmp_path: Path) -> None:
    with mock.patch.object(loop, "check_rehearsal") as check:
        assert alpl(tmp_path, "trainer.max_epochs=1", "method=all_data").status == 0
    assert not check.called
