"""Configs of detection: any detector meets any data set, and SSD300 is the published one."""

import hydra
import pytest
import torch
from configs import composed
from omegaconf import DictConfig, OmegaConf

from alpl.boxes.priors import COCO_300, VOC_300
from alpl.config.compose import CONF
from alpl.errors import ConfigError
from alpl.preflight.config import check_config

DATA = ("digit_scenes", "voc07", "voc12", "voc0712", "voc_folder", "coco2014", "coco2017", "coco_folder")


def is_detector(path) -> bool:
    text = path.read_text()
    return path.stem not in DATA and "/preprocess@_global_.data" in text


DETECTORS = sorted(path.stem for path in (CONF / "model").glob("*.yaml") if is_detector(path))


def given(config: DictConfig) -> DictConfig:
    for key in OmegaConf.missing_keys(config):
        OmegaConf.update(config, key, "given")
    return config


def test_there_are_detectors() -> None:
    assert {"ssd_tiny", "ssd300_vgg16", "ssd300_vgg16_coco", "ssd300_resnet34", "ssd300_resnet50"} <= set(DETECTORS)


@pytest.mark.sample(6)
@pytest.mark.parametrize("model", DETECTORS)
@pytest.mark.parametrize(
    "data",
    [
        pytest.param("digit_scenes", marks=pytest.mark.slow),
        "voc_folder",
        pytest.param("coco2017", marks=pytest.mark.slow),
    ],
)
def test_any_detector_meets_any_data(data: str, model: str) -> None:
    config = given(composed(f"data={data}", f"model={model}"))
    check_config(config)
    assert "augment" in config.data and "resize" in config.data  # its own pre-processing came with it


@pytest.mark.sample(3)
@pytest.mark.parametrize("data", DATA)
def test_each_data_set_has_its_usual_partners(data: str) -> None:
    config = given(composed(f"data={data}"))
    check_config(config)
    if data == "digit_scenes":
        return
    first = 21 if data.startswith("coco") else 30
    assert config.model.layout.min_sizes[0] == first and config.trainer.max_steps == 120_000
    metric = "COCOAveragePrecision" if data.startswith("coco") else "VOCAveragePrecision"
    assert config.model.metric._target_.endswith(metric)


def test_a_folder_of_ones_own_must_be_given() -> None:
    for data in ("voc_folder", "coco_folder"):
        with pytest.raises(ConfigError, match=r"data\.source\.root must be given"):
            check_config(composed(f"data={data}"))


def test_layouts_are_the_published_ones() -> None:
    for name, layout in (("voc_300", VOC_300), ("coco_300", COCO_300)):
        config = composed("data=voc0712", f"model/layout={name}")
        assert torch.equal(hydra.utils.instantiate(config.model.layout).priors(), layout.priors())


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("model", "num_parameters"),
    [("ssd300_vgg16", 26_285_486), ("ssd300_resnet34", None), ("ssd300_resnet50", None)],  # 21 outputs; Liu et al.: 26M
)
def test_ssd300_trains_as_published(model: str, num_parameters: int | None) -> None:
    config = composed("data=voc0712", f"model={model}", "model.network.backbone.weights=null")
    module = hydra.utils.instantiate(config.model, num_classes=20, _convert_="all")
    assert module.priors.shape == (8732, 4)
    if num_parameters is not None:
        assert sum(p.numel() for p in module.parameters()) == num_parameters
    [optimizer], [schedule] = module.configure_optimizers()
    group = optimizer.param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (1e-3, 0.9, 5e-4)
    assert len(optimizer.param_groups) == 1 and len(group["params"]) == len(list(module.parameters()))
    assert schedule["interval"] == "step"
    assert (dict(schedule["scheduler"].milestones), schedule["scheduler"].gamma) == ({80_000: 1, 100_000: 1}, 0.1)
    assert (module.evaluation.nms_thresh, module.acquisition.nms_thresh, module.num_passes) == (0.45, 0.5, 25)


def test_missing_weights_are_named(tmp_path) -> None:
    config = composed("data=voc0712", f"paths.data={tmp_path}")
    with pytest.raises(Exception, match=r"vgg16_reducedfc\.pth"):
        hydra.utils.instantiate(config.model, num_classes=20)


def test_kitti_is_measured_as_coco_with_its_own_measure_beside_it() -> None:
    config = composed("data=kitti")
    check_config(config)
    assert config.model.metric._target_ == "alpl.metrics.coco_beside_kitti.COCOBesideKITTI"
    assert config.data.source.classes == "evaluated" and config.schedule.cycles == 6
    metric = hydra.utils.instantiate(config.model.metric)(num_classes=3)
    assert metric.kitti.iou_threshs == [0.7, 0.5, 0.5]
