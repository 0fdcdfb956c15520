"""A data set's fingerprint: each part that determines results is told, and nothing else."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fake.coco import annotation_file, make_coco
from PIL import Image

from alpl.boxes.objects import Objects, ObjectTable
from alpl.data.coco import COCO
from alpl.data.datamodule import ImageDataModule
from alpl.data.digests import objects_part, part_of
from alpl.data.scenes import SceneDataModule
from alpl.data.sets import ImageSet, Splits
from alpl.data.source import AbstractSource


def fingerprint(root: Path, **options):
    settings = {"batch_size": 1, "seed": 0} | options
    data = SceneDataModule(COCO(str(root), bad="skip_images"), lambda *scene: scene, lambda image: image, **settings)
    data.setup()
    return data.fingerprint()


def edit(split: str, change):
    """Give what changes the annotations of a split."""

    def edit_in(root: Path) -> None:
        file = annotation_file(root, split)
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))

    return edit_in


def rename(content):
    content["categories"][0]["name"] = "cup"


def swap_classes(content):
    """The labels change places, and so do the names: each box keeps the name of its class."""
    first, second = content["categories"][:2]
    first["id"], second["id"] = second["id"], first["id"]
    swapped = {first["id"]: second["id"], second["id"]: first["id"]}
    for box in content["annotations"]:
        box["category_id"] = swapped.get(box["category_id"], box["category_id"])


def move(content):
    content["annotations"][0]["bbox"][0] += 1


def label_more(content):
    content["annotations"].append(dict(content["annotations"][1], id=200, bbox=[1, 1, 5, 5]))


def turn_round(content):
    content["images"].reverse()


def paint(root: Path) -> None:
    path = next(iter(sorted((root / "train2017").iterdir())))
    pixels = np.array(Image.open(path))
    pixels[:5] = 255 - pixels[:5]
    Image.fromarray(pixels).save(path)


def break_off(root: Path) -> None:
    path = next(iter(sorted((root / "train2017").iterdir())))
    path.write_bytes(b"")


EDITS = {
    "a class is renamed": ([edit("train2017", rename), edit("val2017", rename)], {"classes"}),
    "classes come in another order": (
        [edit("train2017", swap_classes), edit("val2017", swap_classes)],
        {"classes", "training annotations", "test annotations"},
    ),
    "a box is moved": ([edit("train2017", move)], {"training annotations"}),
    "boxes are added": ([edit("train2017", label_more)], {"training annotations"}),
    "test boxes are moved": ([edit("val2017", move)], {"test annotations"}),
    "images come in another order": (
        [edit("val2017", turn_round)],
        {"test images", "test annotations", "contents of test files"},
    ),
    "pixels are edited": ([paint], {"contents of training files"}),
}


@pytest.mark.parametrize("case", EDITS)
def test_what_is_changed_is_told(tmp_path, case):
    edits, parts = EDITS[case]
    before = fingerprint(make_coco(tmp_path), fingerprint="content")
    for edit_in in edits:
        edit_in(tmp_path)
    after = fingerprint(tmp_path, fingerprint="content")
    told = {line.split(" differ")[0] for line in after.differences(before)}
    assert told - {"training files"} == parts  # edited pixels may or may not take as many bytes


def test_images_that_are_left_out_are_told(tmp_path):
    before = fingerprint(make_coco(tmp_path))
    break_off(tmp_path)
    assert any("images left out differ (" in line for line in fingerprint(tmp_path).differences(before))


def test_nothing_is_told_of_another_place_and_copies_need_their_contents(tmp_path):
    root = make_coco(tmp_path / "one")
    shutil.copytree(root, tmp_path / "two")  # with its time stamps
    assert fingerprint(tmp_path / "two").differences(fingerprint(root)) == []
    path = next((tmp_path / "two" / "val2017").iterdir())
    os.utime(path, (1, 1))
    one, two = fingerprint(root), fingerprint(tmp_path / "two")
    assert [line.split(" differ")[0] for line in two.differences(one)] == ["time stamps of test files"]
    assert one.identity == two.identity
    by_content = [fingerprint(tmp_path / name, fingerprint="content") for name in ("one", "two")]
    assert by_content[1].differences(by_content[0]) == []


class InMemory(AbstractSource):
    def __init__(self, **changes):
        self.changes = changes

    def load(self):
        images = torch.arange(8 * 4, dtype=torch.uint8).view(8, 1, 2, 2)
        given = {
            "train": ImageSet(images[:6], torch.arange(6) % 2), "test": ImageSet(images[6:], torch.arange(2)),
            "classes": ("a", "b"),
        }  # fmt: skip
        return Splits(**(given | self.changes))


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"classes": ("a", "c")}, "classes"),
        ({"train": ImageSet(torch.zeros(6, 1, 2, 2, dtype=torch.uint8), torch.arange(6) % 2)}, "training images"),
        ({"test": ImageSet(torch.arange(24, 32, dtype=torch.uint8).view(2, 1, 2, 2), 1 - torch.arange(2))},
         "test labels"),
        ({"excluded": torch.tensor([1])}, None),  # the config says it
    ],
)  # fmt: skip
def test_images_in_memory_are_told_by_what_they_are(changes, part):
    before, after = (
        ImageDataModule(lambda source=source: source, lambda batch: batch, batch_size=1, seed=0)
        for source in (InMemory(), InMemory(**changes))
    )
    for data in (before, after):
        data.setup()
    assert after.fingerprint().differences(before.fingerprint()) == ([] if part is None else [f"{part} differ"])


def test_objects_are_told_alike_however_they_are_held():
    objects = [Objects(torch.ones(n, 4), torch.zeros(n, dtype=torch.long), torch.ones(n) > 0) for n in (2, 0, 1)]
    flat = Objects(torch.ones(3, 4), torch.zeros(3, dtype=torch.long), torch.ones(3) > 0)
    assert objects_part(objects) == objects_part(ObjectTable(flat, torch.tensor([2, 0, 1])))
    assert objects_part(objects) != objects_part(ObjectTable(flat, torch.tensor([2, 1, 0])))
    assert objects_part(()) == objects_part([])


def test_a_column_of_a_single_row_is_told_as_any_other():
    columns = torch.tensor([[3, 4]]).unbind(1)  # as the stamps of a split of one image
    assert part_of(1, columns[1]) == part_of(1, torch.tensor([4])) != part_of(1, columns[0])
