"""Images of one's own: folders in VOC's and COCO's format on the command line, and short fits on two real sets."""

import csv
import json
import os
from pathlib import Path

import pytest
from command import Result, alpl
from fake.coco import annotation_file, make_coco

SMALL = [
    "model=ssd_tiny", "trainer=digit_scenes", "trainer.max_epochs=-1", "model.scheduler_interval=step",
    "model.scheduler.T_max=${trainer.max_steps}", "schedule=all_data", "data.num_workers=0",
]  # fmt: skip


def coco_folder(root: Path) -> list[str]:
    return [
        "data=coco_folder", f"data.source.root={root}",
        "data.source.train_annotations=annotations/instances_train2017.json", "data.source.train_images=train2017",
        "data.source.test_annotations=annotations/instances_val2017.json", "data.source.test_images=val2017",
    ]  # fmt: skip


def curve(result: Result, name: str) -> list[float]:
    with (result.run_folder() / "cycle_00" / "epochs.csv").open() as stream:
        return [float(line[name]) for line in csv.DictReader(stream)]


def mean_precision(result: Result) -> float:
    return float(json.loads((result.run_folder() / "cycle_00" / "metrics.json").read_text())["test/map"])


def test_a_folder_in_coco_format_runs(tmp_path: Path) -> None:
    root = make_coco(tmp_path / "mine")
    result = alpl(tmp_path / "runs", *coco_folder(root), *SMALL, "trainer.max_steps=2", "data.batch_size=2")
    assert result.status == 0, result.err
    assert 0 <= mean_precision(result) <= 1


@pytest.mark.slow
def test_a_folder_that_moves_is_the_same_run_and_other_data_want_a_name(tmp_path: Path) -> None:
    def run(root: Path, *overrides: str) -> Result:
        small = ("trainer.max_steps=1", "data.batch_size=2")
        return alpl(tmp_path / "runs", *coco_folder(root), *SMALL, *small, *overrides)

    root = make_coco(tmp_path / "one")
    result = run(root)
    assert result.status == 0, result.err
    moved = root.rename(tmp_path / "two")
    result = run(moved)
    assert result.status == 0 and "finished already" in result.out + result.err
    file = annotation_file(moved, "train2017")
    content = json.loads(file.read_text())
    content["annotations"].append(dict(content["annotations"][0], id=200))
    file.write_text(json.dumps(content))
    refused = run(moved)
    assert refused.status == 2 and "training annotations differ" in refused.err and "data.name=NAME" in refused.err
    assert run(moved, "data.name=more").status == 0 and len(result.run_folders()) == 2


def test_bad_boxes_of_a_folder_are_named_before_training(tmp_path: Path) -> None:
    root = make_coco(tmp_path / "mine")
    file = annotation_file(root, "train2017")
    content = json.loads(file.read_text())
    content["annotations"][1]["bbox"] = [35.0, 1.0, 50.0, 20.0]
    file.write_text(json.dumps(content))
    result = alpl(tmp_path / "runs", *coco_folder(root), *SMALL, "trainer.max_steps=1")
    assert result.status == 2
    assert "000000000009.png: the 'person' box (35, 1, 85, 21) lies outside the image" in result.err
    assert "bad=skip_boxes" in result.err


def real(variable: str, *folders: str) -> list[str]:
    """Overrides of a real set in VOC's format; skips where the variable names no folder."""
    if variable not in os.environ:
        pytest.skip(f"{variable} names no folder")
    root = Path(os.environ[variable], *folders)
    return ["data=voc_folder", f"data.source.root={root}", "data.source.cache_bytes=400_000_000"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "steps", "least"),
    [("ssd_tiny", 150, 0.3), ("retinanet_tiny", 250, 0.1), ("faster_rcnn_tiny", 150, 0.3)],
)
def test_blood_cells_are_learned(tmp_path: Path, model: str, steps: int, least: float) -> None:
    overrides = [*real("ALPL_BCCD_ROOT"), *SMALL, f"model={model}", "data.batch_size=8"]
    refused = alpl(tmp_path / "refused", *overrides, "trainer.max_steps=1")
    assert refused.status == 2
    for name in ("BloodImage_00338.xml", "BloodImage_00343.xml"):
        assert f"{name}: the 'RBC' box" in refused.err
    overrides += ["data.source.bad=skip_boxes"]
    few = alpl(tmp_path / "few", *overrides, "trainer.max_steps=10")
    many = alpl(tmp_path / "many", *overrides, f"trainer.max_steps={steps}")
    assert few.status == many.status == 0, few.err + many.err
    losses = curve(many, "train/classification_loss")
    assert losses[-1] < 0.8 * losses[0]
    assert mean_precision(few) < least / 3 and mean_precision(many) > least


@pytest.mark.slow
def test_a_subset_of_voc_is_learned(tmp_path: Path) -> None:
    overrides = [
        *real("ALPL_VOC_ROOT", "VOCdevkit", "VOC2007"), *SMALL, "data.batch_size=16",
        "data.source.train_list=ImageSets/Main/train.txt", "data.source.test_list=ImageSets/Main/val.txt",
        # a little wider than for digits, and without the decay that suits many passes over few scenes
        "model.network.backbone.widths=[16,32,64]", "model.optimizer._target_=torch.optim.Adam",
        "model.optimizer.weight_decay=0", "model.optimizer.lr=0.003",
    ]  # fmt: skip
    few = alpl(tmp_path / "few", *overrides, "trainer.max_steps=10")
    many = alpl(tmp_path / "many", *overrides, "trainer.max_steps=250")
    assert few.status == many.status == 0, few.err + many.err
    losses = curve(many, "train/classification_loss")
    assert losses[-1] < 0.9 * losses[0]
    # 20 classes on 96 pixels after less than three epochs: little, but ten times what chance gives
    assert mean_precision(many) > 0.009 and mean_precision(many) > 4 * mean_precision(few)
