"""A finished run and the data of now: the same, others, or gone."""

import shutil
from pathlib import Path

import pytest
from command import TINY, alpl
from fake.coco import annotation_file, make_coco
from omegaconf import OmegaConf

from alpl.commands.finished import check_finished
from alpl.commands.status import status_in
from alpl.errors import ConfigError
from alpl.machine.files import read_json, write_json, write_text
from alpl.runs.fingerprint import FILE

SPLITS = {"train": "train2017", "test": "val2017"}
TRANSFORM = {"_target_": "torch.nn.Identity"}


def config_of(root: Path):
    source = {"_target_": "alpl.data.coco.COCO", "root": str(root)}
    about = {"_target_": "alpl.data.scenes.SceneDataModule", "source": source, "batch_size": 1, "seed": 0}
    return OmegaConf.create({"data": about | {"augment": TRANSFORM, "resize": TRANSFORM}})


def note(folder: Path, root: Path) -> None:
    from hydra.utils import instantiate

    data = instantiate(config_of(root).data)
    data.setup("fit")
    write_json(folder / FILE, data.fingerprint().as_json())


def add_label(root: Path) -> None:
    file = annotation_file(root, "train2017")
    content = read_json(file)
    content["annotations"].append(dict(content["annotations"][0], id=200))
    write_json(file, content)


def test_other_data_are_refused_and_data_that_are_gone_are_said(tmp_path):
    root = make_coco(tmp_path / "data")
    folder = tmp_path / "run"
    assert check_finished(folder, config_of(root)) == "with which data, it has not noted"
    note(folder, root)
    assert check_finished(folder, config_of(root)) == ""
    add_label(root)
    with pytest.raises(ConfigError, match=r"training annotations differ \(4 then, 5 now\); restore them, or give"):
        check_finished(folder, config_of(root))
    shutil.rmtree(root)
    said = check_finished(folder, config_of(root))
    assert said.startswith("its data are not compared, as they cannot be read now: ") and "annotations" in said


class Gone:
    """A source of one's own, whose folder is not there any more."""

    def load(self):
        return Path("not there").read_bytes()


def test_whatever_a_source_of_ones_own_raises_is_said(tmp_path):
    note(tmp_path / "run", make_coco(tmp_path / "data"))
    config = config_of(tmp_path)
    config.data.source = {"_target_": f"{__name__}.Gone"}
    said = check_finished(tmp_path / "run", config)
    assert said.startswith("its data are not compared, as they cannot be read now: ") and "not there" in said


def test_images_of_a_finished_run_are_not_decoded_again(tmp_path, monkeypatch):
    decoded = []
    monkeypatch.setattr(
        "alpl.data.checked_split.read_size",
        lambda path, *, decode, max_megapixels: decoded.append(path) if decode else (30, 40),
    )
    source = {"_target_": "alpl.data.coco.COCOFolder", "root": str(make_coco(tmp_path / "data")), "bad": "error"}
    source |= {f"{split}_annotations": f"annotations/instances_{name}.json" for split, name in SPLITS.items()}
    source |= {f"{split}_images": name for split, name in SPLITS.items()}
    config = config_of(tmp_path)
    config.data.source = source | {"verify_images": True}
    write_json(tmp_path / "run" / FILE, {"identity": "", "parts": {}})
    with pytest.raises(ConfigError, match="is of other data than there are now"):
        check_finished(tmp_path / "run", config)
    assert decoded == [] and config.data.source.verify_images


def test_status_tells_data_sets_apart(tmp_path):
    for name in ("one", "two"):
        root = make_coco(tmp_path / name)
        if name == "two":
            add_label(root)
        note(tmp_path / "runs" / name, root)
        write_text(tmp_path / "runs" / name / "error.txt", "it failed\n")
    one, two = status_in(tmp_path / "runs")
    assert one.data.endswith(": 4 training images, 2 test images, 3 classes") and one.data != two.data


FOLDER = """
import torch
from alpl.data import AbstractSource, ImageSet, Splits

class Folder(AbstractSource):
    def __init__(self, root):
        self.shift = 7 * (root == "A")

    def load(self):
        images = (torch.arange(60 * 64) * 37 + self.shift).remainder(251).to(torch.uint8).view(60, 1, 8, 8)
        targets = torch.arange(60) % 3
        return Splits(ImageSet(images[:40], targets[:40]), ImageSet(images[40:], targets[40:]), ("a", "b", "c"))
"""


@pytest.mark.slow
def test_two_roots_of_a_class_of_ones_own_are_never_taken_for_each_other(tmp_path, monkeypatch):
    write_text(tmp_path / "code" / "folder_source.py", FOLDER)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    common = [
        "data.source._target_=folder_source.Folder", "schedule.initial.size=10", "schedule.budget=5",
        "data.batch_size=5", "callbacks=none", *TINY,
    ]  # fmt: skip
    runs = tmp_path / "runs"
    assert alpl(runs, *common, "+data.root=A").status == 0
    again = alpl(runs, *common, "+data.root=A")
    assert again.status == 0 and "finished already" in again.err + again.out
    other = alpl(runs, *common, "+data.root=B")
    assert other.status == 2 and "training images differ" in other.err and "finished already" not in other.err
    named = alpl(runs, *common, "+data.root=B", "data.name=b")
    assert named.status == 0 and {path.parent.parent.name for path in named.run_folders()} == {"digits", "b"}
    refused = alpl(runs, *common, "data.name=a/b")
    assert refused.status == 2 and "data.name must be a name" in refused.err
