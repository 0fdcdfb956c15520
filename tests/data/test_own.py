"""Own images in each layout: who has annotations is labeled, all others are the pool, some labeled ones the test."""

import csv
import json
from pathlib import Path

import own_data
import pytest
import torch
from own_data import BOX, CLASSES, SIDE

from alpl.data.own import held_out
from alpl.data.own_boxes import OwnCOCO, OwnVOC, OwnYOLO
from alpl.data.own_classes import OwnClasses, OwnTable
from alpl.data.scenes import SceneDataModule
from alpl.errors import ConfigError, DataError

BOXES = {
    "coco": (own_data.make_coco, OwnCOCO),
    "voc": (own_data.make_voc, OwnVOC),
    "yolo": (own_data.make_yolo, OwnYOLO),
}
IMAGES = {"classes": (own_data.make_classes, OwnClasses), "table": (own_data.make_table, OwnTable)}


@pytest.mark.parametrize("layout", BOXES)
def test_boxes(tmp_path: Path, layout: str) -> None:
    make, source = BOXES[layout]
    splits = source(str(make(tmp_path)), **({"empty": "labeled"} if layout == "coco" else {})).load()
    assert set(splits.classes) == set(CLASSES) and splits.annotated is not None
    names, annotated = splits.train.names, splits.annotated.tolist()
    assert len(names) == 34 and len(splits.test) == 2 and len(annotated) == 10
    assert {int(name[1:4]) % 3 for k, name in enumerate(names) if k in annotated} == {0}
    assert {int(name[1:4]) % 3 for k, name in enumerate(names) if k not in annotated} == {1, 2}
    assert not {*names} & {*splits.test.names} and {int(name[1:4]) % 3 for name in splits.test.names} == {0}
    right = {own_data.name_of(k): label for k, (_, label) in enumerate(own_data.pictures(36))}
    both = [(splits.train, splits.train_objects), (splits.test, splits.test_objects)]
    for name, objects in [pair for images, each in both for pair in zip(images.names, each, strict=True)]:
        if int(name[1:4]) % 3 or name == own_data.name_of(0):
            assert not len(objects)
        else:
            assert torch.allclose(objects.boxes, torch.tensor([BOX])), name
            assert [splits.classes[label] for label in objects.labels.tolist()] == [right[name]]


def test_images_that_coco_lists_without_annotations_are_the_pool_unless_told(tmp_path: Path) -> None:
    splits = OwnCOCO(str(own_data.make_coco(tmp_path))).load()
    assert splits.annotated is not None and len(splits.annotated) == 9
    assert splits.train.names.index(own_data.name_of(0)) not in splits.annotated.tolist()


@pytest.mark.parametrize("layout", IMAGES)
def test_classes(tmp_path: Path, layout: str) -> None:
    make, source = IMAGES[layout]
    splits = source(str(make(tmp_path)), size=16).load()
    assert splits.classes == tuple(sorted(CLASSES)) and splits.annotated is not None
    assert list(splits.train.images.shape[1:]) == [3, 16, 16]
    right = {own_data.name_of(k): label for k, (_, label) in enumerate(own_data.pictures(36))}
    labeled = splits.train.targets >= 0
    assert torch.equal(labeled.nonzero().flatten(), splits.annotated) and int(labeled.sum()) + len(splits.test) == 12
    assert (~labeled).sum() == 24
    for row, file in enumerate(splits.files):
        if labeled[row]:
            assert splits.classes[int(splits.train.targets[row])] == right[Path(file).name]
    assert len(splits.test.targets.unique()) == 3


def test_a_test_set_that_is_there_is_taken(tmp_path: Path) -> None:
    splits = OwnClasses(str(own_data.make_classes(tmp_path / "classes", test=6)), size=8).load()
    assert len(splits.test) == 6 and splits.annotated is not None and len(splits.annotated) == 12
    scenes = OwnYOLO(str(own_data.make_yolo(tmp_path / "yolo", val=6))).load()
    assert len(scenes.test) == 6 and scenes.annotated is not None and len(scenes.annotated) == 12
    root = own_data.make_voc(tmp_path / "voc")
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "test.txt").write_text("d003.png\nd006\n")
    scenes = OwnVOC(str(root)).load()
    assert scenes.test.names == ("d003.png", "d006.png") and not {*scenes.test.names} & {*scenes.train.names}
    assert scenes.annotated is not None and len(scenes.annotated) == 10


def test_the_held_out_share_is_said_and_the_same_each_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    groups = [list(range(10)), list(range(20, 25)), [30], []]
    drawn = held_out(groups, 0.2, 0, "mine")
    assert drawn == held_out(groups, 0.2, 0, "mine") != held_out(groups, 0.2, 1, "mine")
    assert [sum(each in group for each in drawn) for group in groups] == [2, 1, 0, 0]
    assert "mine: there is no test set: 3 of 16 labeled images are held out" in caplog.text
    assert len(held_out([[4, 5]], 0.01, 0, "mine")) == 1
    with pytest.raises(DataError, match="mine: 1 labeled images are too few"):
        held_out([[4]], 0.9, 0, "mine")


def test_an_image_with_a_bad_annotation_is_neither_labeled_nor_asked_about(tmp_path: Path) -> None:
    root = own_data.make_yolo(tmp_path)
    bad = root / "labels" / "train" / "d003.txt"
    bad.write_text("0 0.5 0.5 9 9\n")
    with pytest.raises(DataError, match="lies outside the image"):
        OwnYOLO(str(root)).load()
    splits = OwnYOLO(str(root), bad="skip_boxes", test_seed=1).load()
    row = splits.train.names.index("d003.png")
    assert splits.excluded is not None and splits.annotated is not None
    assert splits.excluded.tolist() == [row] and row not in splits.annotated.tolist()


@pytest.mark.parametrize(
    "line, said",
    [
        ("x 0.5 0.5 0.1 0.1", "must hold numbers"),
        ("0 0.5 0.5 0.1", "x, y, width, height or a polygon"),
        ("7 0.5 0.5 0.1 0.1", "unknown class"),
    ],
)
def test_bad_lines_of_yolo_are_named(tmp_path: Path, line: str, said: str) -> None:
    root = own_data.make_yolo(tmp_path)
    (root / "labels" / "train" / "d003.txt").write_text(f"{line}\n")
    with pytest.raises(DataError, match=said):
        OwnYOLO(str(root)).load()


def test_a_polygon_of_yolo_is_the_box_around_it(tmp_path: Path) -> None:
    root = own_data.make_yolo(tmp_path)
    (root / "labels" / "train" / "d003.txt").write_text("1 0.25 0.5 0.5 0.25 0.75 0.5\n")
    splits = OwnYOLO(str(root), test_seed=1).load()
    (objects,) = [splits.train_objects[k] for k, name in enumerate(splits.train.names) if name == "d003.png"]
    assert objects.boxes.tolist() == [[0.25 * SIDE, 0.25 * SIDE, 0.75 * SIDE, 0.5 * SIDE]]


def test_what_is_not_there_or_wrong_is_named(tmp_path: Path) -> None:
    root = own_data.make_table(tmp_path / "table")
    with pytest.raises(ConfigError, match=r"data\.source\.size must be an int >= 1, got 0"):
        OwnTable(str(root), size=0)
    with pytest.raises(ConfigError, match=r"data\.source\.test_share must lie in \(0, 1\), got 1"):
        OwnYOLO(str(root), test_share=1)
    with pytest.raises(ConfigError, match="empty must be unlabeled or labeled"):
        OwnCOCO(str(root), empty="maybe")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="none has a class"):
        (root / "none.csv").write_text("image,label\npics/d000.png,\n")
        OwnTable(str(root), "none.csv").load()
    with pytest.raises(DataError, match="must name each image once"):
        (root / "twice.csv").write_text("image,label\npics/d000.png,a\npics/d000.png,b\n")
        OwnTable(str(root), "twice.csv").load()
    with pytest.raises(DataError, match=r"broken images: .*gone\.png: there is no such image"):
        rows = [("image", "label"), *((f"pics/d00{k}.png", "a") for k in range(3)), ("gone.png", "")]
        with (root / "gone.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows(rows)
        OwnTable(str(root), "gone.csv", size=8).load()
    with pytest.raises(DataError, match=r"nowhere\.yaml must be a file"):
        OwnYOLO(str(root), "nowhere.yaml").load()


def test_a_link_to_a_folder_is_named(tmp_path: Path) -> None:
    root = own_data.make_classes(tmp_path / "here")
    (root / "train" / "two").rename(tmp_path / "elsewhere")
    (root / "train" / "two").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="two: is a link to a folder, which is not followed"):
        OwnClasses(str(root)).load()


def test_images_that_differ_by_their_ending_alone_are_named(tmp_path: Path) -> None:
    root = own_data.make_voc(tmp_path)
    (root / "JPEGImages" / "d001.jpg").write_bytes((root / "JPEGImages" / "d001.png").read_bytes())
    with pytest.raises(
        DataError, match=r"d001\.png: an image must differ from others by more than its ending, there is"
    ):
        OwnVOC(str(root)).load()


def test_a_folder_by_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own_data.make_yolo(tmp_path))
    annotated = OwnYOLO(".").load().annotated
    assert annotated is not None and len(annotated) == 10


def test_test_images_beside_the_others_are_no_pool(tmp_path: Path) -> None:
    root = own_data.make_coco(tmp_path)
    content = json.loads((root / "annotations.json").read_text())
    tested = {each["id"] for each in content["images"][-3:]}
    for name, is_in in (("train.json", lambda k: k not in tested), ("test.json", lambda k: k in tested)):
        images = [each for each in content["images"] if is_in(each["id"])]
        boxes = [each for each in content["annotations"] if is_in(each["image_id"])]
        (root / name).write_text(json.dumps(content | {"images": images, "annotations": boxes}))
    splits = OwnCOCO(str(root), "train.json", test_annotations="test.json", test_images="images").load()
    assert len(splits.test) == 3 and len(splits.train) == 33 and not {*splits.test.names} & {*splits.train.names}


def test_the_module_knows_who_is_annotated(tmp_path: Path) -> None:
    source = OwnYOLO(str(own_data.make_yolo(tmp_path)))
    data = SceneDataModule(source, torch.nn.Identity(), torch.nn.Identity(), batch_size=1, seed=0)
    data.setup()
    candidates, _ = data.take_targets()
    assert candidates.annotated is not None and candidates.reserved is not None
    assert torch.equal(candidates.annotated, candidates.reserved) and len(candidates.index) == 34
    picture = data.picture(0)
    assert picture.file == str(tmp_path / "images" / "train" / picture.name)
