import pytest
import torch
from fake.kitti import EVERY_KIND, HEIGHT, WIDTH, FakeObject, make_kitti, write_image, write_labels, write_list

from alpl.boxes.kitti_levels import level_of
from alpl.boxes.objects import NO_CLASS
from alpl.data.digests import objects_part
from alpl.data.kitti import KITTI, TYPES
from alpl.data.scene_batches import FlatObjects
from alpl.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path):
    return make_kitti(tmp_path)


def _load(root, **settings):
    return KITTI(str(root), **settings).load()


def test_images_and_objects_come_in_the_order_of_the_lists(root):
    splits = _load(root)
    assert splits.train.names == ("000003.png", "000001.png", "000007.png") and splits.test.names == ("000002.png",)
    assert splits.classes == ("Car", "Pedestrian", "Cyclist") and splits.excluded.tolist() == []
    for k in range(3):
        assert int(splits.train[k][0, 0, 0]) == k
    assert splits.train.sizes.tolist() == [[HEIGHT, WIDTH]] * 3
    objects = splits.train_objects[1]  # as they are written
    assert objects.boxes.tolist() == [[1, 20, 51, 70], [60, 5, 80, 90], [85, 30, 120, 90], [90, 0, 120, 25]]
    assert objects.labels.tolist() == [0, 1, 2, NO_CLASS] and objects.levels.tolist() == [0, 0, 1, 0]


def test_each_kind_is_what_the_benchmark_makes_of_it(root):
    objects = _load(root).train_objects[0]  # without truck, tram and misc
    assert objects.labels.tolist() == [0, 0, 2, 1, 1, 0, 1, NO_CLASS]
    assert objects.levels.tolist() == [0, 1, 1, 2, 3, 0, 0, 0]
    assert objects.difficult.tolist() == [False] * 5 + [True] * 3


def test_all_types_are_classes_of_their_own(root):
    splits = _load(root, classes="all")
    objects = splits.train_objects[0]
    assert splits.classes == TYPES and objects.labels.tolist() == [0, 0, 2, 1, 1, 3, 5, 4, 6, 7, NO_CLASS]
    assert objects.difficult.tolist() == [False] * 10 + [True]


def test_classes_of_ones_own_draw_the_neighbors_of_their_own(root):
    objects = _load(root, classes=["Van", "Pedestrian"]).train_objects[0]
    assert objects.labels.tolist() == [1, 1, 0, 1, NO_CLASS]
    assert objects.difficult.tolist() == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("height", "occluded", "truncated", "level"),
    [(40, 0, 0.15, 0), (39.9, 0, 0, 1), (40, 1, 0, 1), (40, 0, 0.3, 1), (25, 1, 0.3, 1), (24.9, 0, 0, 3),
     (25, 2, 0, 2), (25, 0, 0.5, 2), (90, 0, 0.51, 3), (90, 3, 0, 3)],
)  # fmt: skip
def test_levels_by_hand(height, occluded, truncated, level):
    assert level_of(height, occluded, truncated) == level


def test_what_torchvision_downloads_is_found(root):
    (root / "Kitti" / "raw").mkdir(parents=True)
    (root / "training").rename(root / "Kitti" / "raw" / "training")
    assert len(_load(root).train) == 3


def test_images_and_labels_are_downloaded_only_where_they_are_missing(root, monkeypatch):
    asked = []
    monkeypatch.setattr("torchvision.datasets.Kitti", lambda folder, **options: asked.append((folder, options)))
    KITTI(str(root), download=True).prepare()
    KITTI(str(root / "none")).prepare()
    assert not asked
    KITTI(str(root / "none"), download=True).prepare()
    assert asked == [(str(root / "none"), {"train": True, "download": True})]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("Car 0.00 0 0.2 10 10 60", "line 1 must be a type and 14 numbers, got 'Car 0.00 0 0.2 10 10 60'"),
        (FakeObject().line + " 0.9", "line 1 must be a type and 14 numbers"),
        (FakeObject(box=("x", 1.0, 2.0, 3.0)).line, "line 1 must be a type and 14 numbers"),
        (FakeObject(box=("nan", 1.0, 2.0, 3.0)).line, "line 1 must be a type and 14 numbers"),
        (FakeObject(occluded=4).line, r"occlusion of 0 to 3, got 0.00 4"),
        (FakeObject(truncated=1.5).line, r"truncation in \[0, 1\] and an occlusion of 0 to 3, got 1.5 0"),
        (FakeObject("Lorry").line, r"the 'Lorry' box \(10, 10, 60, 60\) is of an unknown class"),
        (FakeObject(box=(10.0, 10.0, 10.0, 60.0)).line, "has no area"),
        (FakeObject("DontCare", (10.0, 10.0, 999.0, 60.0), -1, -1).line, "lies outside the image"),
    ],
)
def test_bad_lines_are_named(root, line, fault):
    file = write_labels(root, "000001", [FakeObject("Pedestrian")])
    file.write_text(f"{line}\n{file.read_text()}")
    with pytest.raises(DataError, match=rf"1 problems .*000001.txt: .*{fault}"):
        _load(root)
    splits = _load(root, bad="skip_boxes")
    assert splits.train_objects[1].labels.tolist() == [1] and splits.excluded.tolist() == []


def test_an_image_that_loses_all_but_a_region_is_left_out(root):
    write_labels(root, "000001", [FakeObject(occluded=9), EVERY_KIND[-1]])
    assert _load(root, bad="skip_boxes").excluded.tolist() == [1]


def test_images_without_an_object_that_counts_are_images(root):
    write_labels(root, "000001", [FakeObject("Tram"), FakeObject("Van"), EVERY_KIND[-1]])
    write_labels(root, "000007", [])
    splits = _load(root)
    assert splits.excluded.tolist() == [] and [len(each) for each in splits.train_objects] == [8, 2, 0]


def test_files_that_are_missing_or_outside_are_named(root):
    (root / "training" / "label_2" / "000001.txt").unlink()
    with pytest.raises(DataError, match=r"000001.txt: there is no such annotation"):
        _load(root)
    (root / "training" / "label_2" / "000001.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match=r"000001.txt: cannot be read"):
        _load(root)
    write_list(root, "train", ["000003", "../../secret"])
    with pytest.raises(DataError, match=r"lies outside of .*image_2; data.source.outside=true reads it"):
        _load(root)
    (root / "ImageSets" / "val.txt").unlink()
    with pytest.raises(DataError, match=r"val.txt: the list of images cannot be read"):
        _load(root, bad="skip_images")
    with pytest.raises(DataError, match=r"image_2: there is no such folder"):
        _load(root / "none")


def test_images_twice_and_images_with_the_same_bytes_are_told(root, caplog):
    write_list(root, "val", ["000002", "000007"])
    with pytest.raises(DataError, match=r"listed in train and in test"):
        _load(root)
    write_image(root, "000002", 0)
    write_list(root, "val", ["000002"])
    _load(root)
    assert "images with the same bytes (1, of which 1 in train and in test)" in caplog.text


def test_broken_images_are_named_where_they_are_decoded(root):
    file = root / "training" / "image_2" / "000001.png"
    content = file.read_bytes()
    file.write_bytes(content[:-30])
    with pytest.raises(DataError, match=r"000001.png"):
        _load(root, verify_images=True)


@pytest.mark.parametrize("classes", ["some", [], ["Car", "Car"], ["Car", "DontCare"]])
def test_classes_that_are_none_are_refused(classes):
    with pytest.raises(ConfigError, match="classes must be"):
        KITTI("somewhere", classes=classes)


def test_levels_are_told_by_the_fingerprint_and_kept_in_batches(root):
    before = _load(root).train_objects
    lines = [each._replace(occluded=2) if each.name == "Cyclist" else each for each in EVERY_KIND]
    write_labels(root, "000003", lines)
    after = _load(root).train_objects
    assert torch.equal(before.objects.labels, after.objects.labels) and objects_part(before) != objects_part(after)
    assert objects_part(after) == objects_part(list(after))
    flat = FlatObjects.join([before[1], before[0]])
    assert flat.of(1).levels.tolist() == before[0].levels.tolist() and flat.level.dtype == torch.uint8
    assert FlatObjects.join([]).level is None
