"""Data and model of two tasks are refused in one line, whether or not Hydra can compose them."""

from functools import partial
from pathlib import Path

import pytest
from command import alpl
from hydra.errors import ConfigCompositionException

from alpl.commands.status import status_of
from alpl.commands.sweep import compose_job, jobs_of
from alpl.data.datamodule import ImageDataModule
from alpl.data.scenes import SceneDataModule
from alpl.errors import ConfigError
from alpl.modules.classifier import Classifier
from alpl.modules.fcos import FcosDetector
from alpl.modules.ssd import SsdDetector
from alpl.preflight.partners import check_partners

DETECTOR_ON_IMAGES = "got data for classification (ImageDataModule) and a model for detection (SsdDetector)"
CLASSIFIER_ON_SCENES = "got data for detection (SceneDataModule) and a model for classification (Classifier)"


@pytest.mark.parametrize(
    ("data", "model"),
    [(ImageDataModule, Classifier), (SceneDataModule, SsdDetector), (SceneDataModule, FcosDetector)],
)
def test_partners(data, model) -> None:
    check_partners(data, model)


@pytest.mark.parametrize(("data", "model"), [(ImageDataModule, FcosDetector), (SceneDataModule, Classifier)])
def test_no_partners(data, model) -> None:
    with pytest.raises(ConfigError, match=f"of one task, .*{data.__name__}.*{model.__name__}"):
        check_partners(data, model)


def test_what_is_no_class_of_ours_says_nothing() -> None:
    check_partners(SceneDataModule, partial(Classifier))
    check_partners(dict, Classifier)
    check_partners(SceneDataModule, dict)


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=digits", "model=ssd_tiny"], DETECTOR_ON_IMAGES),
        (["data=digits", "model=retinanet_tiny"], "(RetinaNetDetector)"),
        (["data=digits", "method=entropy_then_ccms", "model=faster_rcnn_tiny"], "(FasterRcnnDetector)"),
        (["data=digit_scenes", "model=digits_cnn"], CLASSIFIER_ON_SCENES),
        (["-m", "data=digits", "model=digits_cnn,ssd_tiny"], DETECTOR_ON_IMAGES),
    ],
)
def test_one_line_and_no_run(tmp_path: Path, overrides: list[str], message: str) -> None:
    result = alpl(tmp_path, *overrides)
    assert result.status == 2
    assert result.err.splitlines()[-1].startswith("alpl: error: data and model must be of one task")
    assert message in result.err and result.err.count("alpl: error") == 1
    assert not list(tmp_path.rglob("cycle_*"))


def test_in_a_sweep_the_run_fails_in_one_line(tmp_path: Path) -> None:
    result = alpl(tmp_path, "-m", "data=digit_scenes", "model=digits_cnn", "seed=0")
    assert result.status == 1
    assert f"run 1 failed: data and model must be of one task, {CLASSIFIER_ON_SCENES}" in result.err


@pytest.mark.slow
def test_composing_alone_says_it_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        compose_job(["data=digits", "model=ssd_tiny"])
    assert DETECTOR_ON_IMAGES in str(raised.value)
    with pytest.raises(ConfigError, match="of one task"):
        jobs_of(["data=digits", "model=ssd_tiny"])
    states = status_of(["-m", "data=digits", "model=digits_cnn,ssd_tiny", f"paths.runs={tmp_path}"])
    assert [job.state for job in states] == ["missing", "failed"] and DETECTOR_ON_IMAGES in states[1].detail


def test_other_faults_of_a_detector_s_config_stay_hydra_s(tmp_path: Path) -> None:
    overrides = ["data=digit_scenes", "model=ssd_tiny", "data.batchsize=3"]
    with pytest.raises(ConfigCompositionException, match=r"Could not override 'data\.batchsize'"):
        compose_job(overrides)
    result = alpl(tmp_path, *overrides)
    assert result.status == 2 and "Could not override 'data.batchsize'" in result.err
