"""SYNTHIA-AL in its layout: recordings, types, and which test recordings take part."""

import pytest
import torch
from fake.synthia_al import HEIGHT, SCENE, WIDTH, make_synthia_al, recording

from alpl.data.synthia_al import SynthiaAL
from alpl.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_synthia_al(tmp_path_factory.mktemp("synthia"))


def load(root, **settings):
    return SynthiaAL(str(root), **settings).load()


def test_a_video_is_a_recording_and_frames_keep_their_numbers(root):
    splits = load(root)
    footage = splits.footage
    assert footage.names[0] == f"{SCENE.format(0)}/01-02-2019_10-00-00" and len(footage.names) == 3  # one is empty
    assert torch.bincount(footage.video).tolist() == [12, 11, 12] and footage.spacing == 1
    assert footage.frame[:12].tolist() == list(range(101, 113)) and 105 not in footage.frame[12:23].tolist()
    assert splits.train.sizes.tolist() == [[HEIGHT, WIDTH]] * 35
    assert splits.train[0].shape == (3, HEIGHT, WIDTH)  # of four channels
    assert splits.excluded.tolist() == [] and splits.classes == ("car", "pedestrian", "cyclist")


def test_boxes_and_types(root):
    objects = load(root).train_objects
    assert objects[2].boxes.tolist() == [[4, 4, 12, 12]] and objects[2].labels.tolist() == [0]
    assert objects[12].labels.tolist() == [0, 1] and objects[23].labels.tolist() == [2]  # a bicycle is left out
    aliased = load(root, aliases={"Bicycle": "Cyclist"})
    assert aliased.train_objects[23].labels.tolist() == [2, 2]


def test_recordings_with_wheelchairs_are_tested_on_where_asked(root):
    assert len(load(root).test) == 3 and len(load(root, wheelchair=True).test) == 6


def test_classes_of_ones_own(root):
    splits = load(root, classes=["Pedestrian", "wheelchair"], left_out=["car", "cyclist", "bicycle"], wheelchair=True)
    assert splits.classes == ("pedestrian", "wheelchair") and splits.train_objects[12].labels.tolist() == [0]


def test_what_is_broken_is_named(tmp_path):
    root = make_synthia_al(tmp_path, frames=3)
    file = recording(root, "train", 0) / "labels_kitti" / "000102.txt"
    file.write_text(file.read_text().replace("Car", "Tram"))
    with pytest.raises(DataError, match=r"000102\.txt.*'tram'"):
        load(root)
    file.write_text("Car 0 0 1 2\n")
    with pytest.raises(DataError, match="line 1 must be a type and 14 numbers, got 'Car 0 0 1 2'"):
        load(root)
    file.write_text("")
    assert len(load(root).train_objects[1]) == 0
    file.unlink()
    with pytest.raises(DataError, match=r"000102\.txt: there is no such annotation"):
        load(root)
    assert load(root, bad="skip_images").excluded.tolist() == [1]
    with pytest.raises(DataError, match="there is no recording"):
        load(root, labels="modified_labels_kitti")
    with pytest.raises(DataError, match="there is no such folder"):
        load(tmp_path / "elsewhere")


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="classes must be different names"):
        SynthiaAL("nowhere", classes=["Car", "car"])
    with pytest.raises(ConfigError, match="spacing must be an int >= 0, got True"):
        SynthiaAL("nowhere", spacing=True)
