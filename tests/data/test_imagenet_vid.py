"""ImageNet-VID in its layout: which videos, which frames take part, and who is where."""

import pytest
import torch
from fake.imagenet_vid import CAR, HEIGHT, PART, WIDTH, make_imagenet_vid, write_list

from alpl.data.imagenet_vid import NUMBERS, ImageNetVid
from alpl.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_imagenet_vid(tmp_path_factory.mktemp("vid"))


def load(root, **settings):
    return ImageNetVid(str(root), **settings).load()


def test_videos_of_the_classes_and_their_frames(root):
    splits = load(root)
    footage = splits.footage
    assert splits.classes == ("car", "bicycle", "motorcycle") and footage.spacing == 3
    assert footage.names == tuple(f"{PART}/ILSVRC2015_train_{number:08d}" for number in (0, 1))
    assert torch.bincount(footage.video).tolist() == [12, 11]
    assert footage.frame.tolist() == [*range(12), *(frame for frame in range(12) if frame != 4)]  # the gap is kept
    assert splits.train.names[12] == f"{PART}/ILSVRC2015_train_00000001/000000.JPEG"
    assert splits.train.sizes.tolist() == [[HEIGHT, WIDTH]] * 23 and int(splits.train[1][0, -1, -1]) == 1


def test_corners_are_from_zero_and_include_the_last_pixel(root):
    objects = load(root).train_objects
    assert objects[3].boxes.tolist() == [[6, 4, 14, 12]] and objects[3].labels.tolist() == [0]
    assert objects[12].boxes.tolist() == [[0, 4, 8, 12]] and objects[12].labels.tolist() == [1]  # the dog is left out


def test_frames_without_an_object_are_cleaned_away_and_keep_their_places(root):
    splits = load(root)
    assert splits.excluded.tolist() == [5, 6] and len(splits.train) == 23
    assert load(root, clean="none").excluded.tolist() == []


def test_a_list_of_frames(root):
    frames = [f"{PART}/ILSVRC2015_train_00000000/{frame:06d}" for frame in range(12)]
    write_list(root, "mine", [f"{name} {int(number % 2 == 0)}" for number, name in enumerate(frames)])
    splits = load(root, index_file="ImageSets/VID/mine.txt")
    taking_part = sorted(set(range(23)) - set(splits.excluded.tolist()))
    assert taking_part == [0, 2, 4, 6, 8, 10]


def test_the_validation_videos_are_tested_on(root):
    splits = load(root)
    assert splits.test.names == ("ILSVRC2015_val_00000000/000000.JPEG", "ILSVRC2015_val_00000000/000002.JPEG")
    assert len(load(root, clean="none").test) == 3
    assert [len(each) for each in splits.test_objects] == [1, 1]


def test_classes_of_ones_own(root):
    splits = load(root, classes={"n02834778": "bike", CAR: "car"})
    assert splits.classes == ("bike", "car") and splits.train_objects[3].labels.tolist() == [1]


def test_every_class_has_its_number():
    """The devkit counts classes from 1; the thesis's three are 4, 7 and 19."""
    assert len(set(NUMBERS)) == 30
    assert [NUMBERS.index(name) + 1 for name in ("n02834778", "n02958343", "n03790512")] == [4, 7, 19]


def test_what_is_broken_is_named(tmp_path):
    root = make_imagenet_vid(tmp_path, frames=3)
    file = root / "Annotations/VID/train" / PART / "ILSVRC2015_train_00000000/000001.xml"
    file.write_text(file.read_text().replace(CAR, "n00000000"))
    with pytest.raises(DataError, match=r"000001\.xml.*n00000000"):
        load(root)
    file.write_text("<annotation>")
    with pytest.raises(DataError, match=r"000001\.xml.*not valid XML"):
        load(root)
    skipped = load(root, bad="skip_images")
    assert 1 in skipped.excluded.tolist() and len(skipped.footage) == 6
    write_list(root, "train_7", ["only_a_video"])
    with pytest.raises(DataError, match="line 1 must be a video and a label"):
        load(root)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": {"n1": "car"}}, "must be identifiers of ImageNet-VID, got n1"),
        ({"classes": {}}, "must have different names"),
        ({"clean": "by_hand"}, "clean must be annotated or none, got 'by_hand'"),
        ({"spacing": -1}, "spacing must be an int >= 0, got -1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ImageNetVid("nowhere", **settings)
