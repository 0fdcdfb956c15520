import os
import re
import time
from pathlib import Path

import pytest
import torch
from fake.voc import HEIGHT, WIDTH, FakeObject, make_voc, write_annotation, write_image, write_list

from alpl.data import voc
from alpl.data.voc import CLASSES, VOC, VOCFolder
from alpl.errors import ConfigError, DataError
from alpl.machine.safe_xml import parse_xml

BOMB = """<?xml version="1.0"{}?><!DOCTYPE lolz [<!ENTITY a0 "lol">{}]><annotation><object><name>&a9;</name></object>
</annotation>"""
ENTITIES = "".join(f'<!ENTITY a{k + 1} "{f"&a{k};" * 100}">' for k in range(9))


@pytest.fixture
def root(tmp_path):
    make_voc(tmp_path, "2012", {"trainval": ["2008_000015", "2008_000008"]})
    make_voc(tmp_path, "2007", {"trainval": ["000007", "000005", "000012"], "test": ["000002", "000001"]})
    return tmp_path


@pytest.fixture
def folder(root):
    return root / "VOCdevkit" / "VOC2007"


def _load(folder, **settings):
    return VOCFolder(str(folder), **settings).load()


def test_0712_is_2007_then_2012_in_the_order_of_the_lists(root):
    splits = VOC(str(root), "0712").load()
    assert splits.train.names == ("000007.jpg", "000005.jpg", "000012.jpg", "2008_000015.jpg", "2008_000008.jpg")
    assert splits.test.names == ("000002.jpg", "000001.jpg")
    assert splits.classes == CLASSES and len(CLASSES) == 20 and list(CLASSES) == sorted(CLASSES)
    assert splits.excluded.tolist() == []


@pytest.mark.parametrize(("year", "number"), [("2007", 3), (2007, 3), ("2012", 2)])
def test_years(root, year, number):
    splits = VOC(str(root), year).load()
    assert len(splits.train) == len(splits.train_objects) == number and len(splits.test) == 2


def test_boxes_count_from_zero_and_end_past_the_last_pixel(root):
    objects = VOC(str(root)).load().train_objects[1]  # image 1: written as (2, 2, 11, 20) and (3, 4, 40, 30)
    assert objects.boxes.tolist() == [[1, 1, 11, 20], [2, 3, WIDTH, HEIGHT]]
    assert objects.labels.tolist() == [11, 14] and objects.difficult.tolist() == [False, True]  # parts are no objects


def test_as_released_subtracts_one_from_all_four(root):
    objects = VOC(str(root), box_offset="as_released").load().train_objects[1]
    assert objects.boxes.tolist() == [[1, 1, 10, 19], [2, 3, WIDTH - 1, HEIGHT - 1]]


def test_images_belong_to_their_objects(root):
    splits = VOC(str(root)).load()
    for k in range(3):  # image k is of level k, and its first box starts at x = k
        assert abs(int(splits.train[k][0].float().mean()) - k) <= 1 and int(splits.train_objects[k].boxes[0, 0]) == k
    assert splits.train.sizes.tolist() == [[HEIGHT, WIDTH]] * 3 and splits.train[0].shape == (3, HEIGHT, WIDTH)


def test_the_classes_of_a_folder_are_those_found_sorted_or_those_given(folder):
    write_annotation(folder, "000012", [FakeObject(name) for name in ("zebra", "apple", "Zebra", "car", "bus")])
    assert _load(folder).classes == ("Zebra", "apple", "bus", "car", "dog", "person", "zebra")
    write_annotation(folder, "000012", [])
    given = _load(folder, classes=["person", "cat", "dog"])
    assert given.classes == ("person", "cat", "dog") and given.train_objects[1].labels.tolist() == [2, 0]


def test_folders_and_lists_may_have_other_names(folder):
    (folder / "JPEGImages").rename(folder / "photos")
    (folder / "Annotations").rename(folder / "labels")
    (folder / "mine.txt").write_text("\ufeff000012\r\n\r\n  000007  \r\n", encoding="utf-8")  # a Windows editor's
    splits = _load(folder, train_list="mine.txt", images="photos", annotations="labels")
    assert splits.train.names == ("000012.jpg", "000007.jpg")


@pytest.mark.parametrize("suffix", [".png", ".JPEG", ".bmp"])
def test_images_of_other_formats_and_in_subfolders(folder, suffix):
    name = "sub/photo 1.final"
    path = write_image(folder, name, 77, suffix)
    write_annotation(folder, name, [FakeObject()])
    write_list(folder, "trainval", [name])
    splits = _load(folder)
    assert splits.train.paths == (str(path),) and abs(int(splits.train[0][0, 0, 0]) - 77) <= 1


def test_two_images_of_one_name_are_named(folder):
    write_image(folder, "000005", 3, ".png")
    with pytest.raises(DataError, match=r"several images have this name: 000005.jpg, 000005.png"):
        _load(folder)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entity_bombs_are_refused_at_once(folder, encoding):
    file = folder / "Annotations" / "000005.xml"
    file.write_bytes(BOMB.format(f' encoding="{encoding}"', ENTITIES).encode(encoding))
    start = time.perf_counter()
    with pytest.raises(DataError, match=r"000005.xml: declares a document type, which is refused"):
        _load(folder)
    assert time.perf_counter() - start < 5
    splits = _load(folder, bad="skip_boxes")
    assert splits.excluded.tolist() == [1] and len(splits.train_objects[1]) == 0


def test_a_document_type_hidden_by_the_encoding_is_refused(tmp_path):
    # expat reads the declaration as ASCII, and the rest through Python's codec of any 8-bit encoding
    file = tmp_path / "hidden.xml"
    text = BOMB.format(' encoding="utf-16-le"', '<!ENTITY a9 "x">')
    file.write_bytes(b"\xff\xfe" + text.encode("utf-16-le"))
    with pytest.raises(DataError, match="declares a document type"):
        parse_xml(file)


@pytest.mark.parametrize("content", [b"", b"<annotation>", b"<annotation></annotatio>", b"\x00\x01", b"<a>\xff</a>"])
def test_broken_annotations_are_named(folder, content):
    (folder / "Annotations" / "000012.xml").write_bytes(content)
    with pytest.raises(DataError, match=r"1 problems .*000012.xml: is not valid XML"):
        _load(folder)


def test_a_missing_annotation_is_named(folder):
    (folder / "Annotations" / "000012.xml").unlink()
    with pytest.raises(DataError, match=r"000012.xml: there is no such annotation"):
        _load(folder)


@pytest.mark.timeout(20)
def test_an_annotation_that_is_a_pipe_is_named(folder):
    file = folder / "Annotations" / "000012.xml"
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(DataError, match=r"000012.xml: cannot be read: is no regular file"):
        _load(folder)
    os.mkfifo(folder / "list.txt")
    with pytest.raises(DataError, match=r"list.txt: the list of images cannot be read: is no regular file"):
        _load(folder, train_list="list.txt")


def test_files_outside_of_their_folder_are_refused_and_not_opened(folder, monkeypatch):
    for suffix, kind in ((".jpg", "JPEGImages"), (".xml", "Annotations")):
        (folder / kind / f"000005{suffix}").rename(folder.parent / f"secret{suffix}")
    for name in ("../../secret", str(folder.parent / "secret")):
        write_list(folder, "trainval", ["000007", name, "000012"])
        image, file = folder / "JPEGImages" / f"{name}.jpg", folder / "Annotations" / f"{name}.xml"
        said = f"{file}: {image} lies outside of {folder / 'JPEGImages'}; data.source.outside=true reads it"
        with monkeypatch.context() as patch:
            read = []
            patch.setattr(voc, "parse_xml", lambda file, read=read: read.append(Path(file).name) or parse_xml(file))
            with pytest.raises(DataError, match=f": 1 problems .*{re.escape(said)}"):
                _load(folder)
        assert "000007.xml" in read and "secret.xml" not in read
        splits = _load(folder, bad="skip_images")
        assert splits.excluded.tolist() == [1] and splits.train.sizes[1].tolist() == [0, 0]
        assert len(_load(folder, outside=True).train_objects[1]) == 2


@pytest.mark.parametrize("name", ["a\0b", "b" * 300, "a\\" + "b" * 300, "b" * 300 + "/c", "/", ".", "..", "\\"])
@pytest.mark.parametrize("outside", [False, True])
def test_names_that_no_file_can_have_are_named_and_skipped(folder, name, outside):
    write_list(folder, "trainval", ["000007", name, name, "000012"])
    with pytest.raises(DataError) as caught:
        _load(folder, outside=outside)
    assert ".xml: " in str(caught.value) and "\n" not in str(caught.value)
    splits = _load(folder, outside=outside, bad="skip_images")
    assert splits.excluded.tolist() == [1, 2] and splits.train.contents()[1:3] == ["", ""]


@pytest.mark.parametrize(
    ("thing", "what"),
    [
        (FakeObject(box=("a", 1, 5, 5)), "the 'dog' object has no valid xmin='a'"),
        (FakeObject(box=(1, "nan", 5, "")), "the 'dog' object has no valid ymin='nan', ymax=''"),
        (FakeObject(difficult="maybe"), "the 'dog' object has no valid difficult='maybe'"),
        (FakeObject(box=(5, 3, 5, 3)), "the 'dog' box (5, 3, 5, 3) has no area (image of 40 x 30 pixels)"),
        (FakeObject(box=(5, 3, 4, 9)), "the 'dog' box (5, 3, 4, 9) has no area"),
        (FakeObject(box=(5, 3, 42, 9)), "the 'dog' box (5, 3, 42, 9) lies outside the image (image of 40 x 30 pixels)"),
        (FakeObject(box=(-1, 3, 9, 9)), "the 'dog' box (-1, 3, 9, 9) lies outside the image"),
        (FakeObject(name="unicorn"), "the 'unicorn' box (1, 1, 40, 30) is of an unknown class"),
        (FakeObject(name=""), "the '' box (1, 1, 40, 30) is of an unknown class"),
    ],
)
def test_bad_objects_are_named_and_skipped_as_asked(root, folder, thing, what):
    file = write_annotation(folder, "000005", [FakeObject(box=(2, 2, 3, 3)), thing])
    with pytest.raises(DataError) as caught:
        VOC(str(root)).load()
    assert str(caught.value).startswith(f"VOC: 1 problems with images or boxes: {file}: {what}")
    dropped = VOC(str(root), bad="skip_boxes", allow_lost=CLASSES).load()
    assert dropped.excluded.tolist() == [] and dropped.train_objects[1].boxes.tolist() == [[1, 1, 3, 3]]
    skipped = VOC(str(root), bad="skip_images", allow_lost=CLASSES).load()
    assert skipped.excluded.tolist() == [1] and len(skipped.train) == 3 and len(skipped.train_objects[1]) == 0


def test_a_nameless_object_is_no_class_of_its_own(folder):
    write_annotation(folder, "000005", [FakeObject(name="")])
    assert _load(folder, bad="skip_boxes").classes == ("dog", "person")


@pytest.mark.parametrize("box", [(0, 0, WIDTH, HEIGHT), (1, 1, WIDTH + 1, HEIGHT + 1), (0.5, 1, 40.4, 30)])
def test_a_box_off_by_one_is_clipped(folder, box):
    write_annotation(folder, "000005", [FakeObject(box=box)])
    assert _load(folder).train_objects[1].boxes.tolist() == [[0, 0, WIDTH, HEIGHT]]


def test_the_size_is_the_image_files_and_a_stated_one_must_agree(folder):
    write_annotation(folder, "000005", [], size=(0, 0))  # some tools do not know it
    assert _load(folder).train.sizes[1].tolist() == [HEIGHT, WIDTH]
    write_annotation(folder, "000005", [], size=(WIDTH, HEIGHT))
    with pytest.raises(DataError, match=r"000005.jpg: has 40 x 30 pixels, but 30 x 40 in .*000005.xml"):
        _load(folder)


def test_a_missing_list_or_folder_is_named(root, folder):
    with pytest.raises(DataError, match=r"nothing.txt: the list of images cannot be read"):
        _load(folder, train_list="nothing.txt")
    with pytest.raises(DataError, match=r"VOC2008.*: there is no such folder"):
        _load(root / "VOCdevkit" / "VOC2008")
    write_list(folder, "trainval", [])
    with pytest.raises(DataError, match="the train split lists no image"):
        _load(folder)


def test_no_class_at_all_is_an_error(folder):
    for name in ("000007", "000005", "000012", "000001", "000002"):
        write_annotation(folder, name, [])
    with pytest.raises(DataError, match="no annotation names an object"):
        _load(folder)


def test_download_only_where_asked_and_missing(root, tmp_path, monkeypatch):
    asked = []

    def fake(root, year, image_set, download):
        asked.append((Path(root), year, image_set, download))
        if year == "2012":
            raise RuntimeError("the archive\nis corrupt")

    monkeypatch.setattr("torchvision.datasets.VOCDetection", fake)
    empty = tmp_path / "empty"
    VOC(str(root), "0712", download=True).prepare()
    VOC(str(empty)).prepare()
    assert not asked
    with pytest.raises(DataError, match=r"VOC: the download .* failed: the archive is corrupt"):
        VOC(str(empty), "0712", download=True).prepare()
    assert asked == [(empty, "2007", "trainval", True), (empty, "2012", "trainval", True)]
    VOC(str(empty), download=True).prepare()
    assert asked[2:] == [(empty, "2007", "trainval", True), (empty, "2007", "test", True)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"year": "2010"}, "year must be one of 2007, 2012, 0712, got '2010'"),
        ({"bad": "skip"}, "bad must be one of error, skip_images, skip_boxes, got 'skip'"),
        ({"box_offset": "none"}, "box_offset must be one of as_written, as_released, got 'none'"),
        ({"cache_bytes": -1}, "cache_bytes must be >= 0, got -1"),
    ],
)
def test_wrong_settings_of_voc(settings, message):
    with pytest.raises(ConfigError, match=message):
        VOC("anywhere", **settings)


@pytest.mark.parametrize("classes", [[], ["dog", "dog"]])
def test_wrong_classes_of_a_folder(classes):
    with pytest.raises(ConfigError, match="classes must be different names"):
        VOCFolder("anywhere", classes=classes)


def _real(variable):
    root = os.environ.get(variable)
    return pytest.param(root, marks=pytest.mark.skipif(not root, reason=f"{variable} names no folder"))


@pytest.mark.parametrize("root", [_real("ALPL_BCCD_ROOT")])
def test_bccd_has_two_boxes_without_area(root):
    with pytest.raises(DataError) as caught:
        _load(root)
    message = str(caught.value)
    assert ": 2 problems " in message and "BloodImage_00338.xml: the 'RBC' box (504, 337, 504, 337) has no" in message
    assert "BloodImage_00343.xml: the 'RBC' box (181, 329, 181, 329) has no area" in message
    splits = _load(root, bad="skip_boxes", verify_images=True)
    assert (len(splits.train), len(splits.test), splits.classes) == (292, 72, ("Platelets", "RBC", "WBC"))
    assert sum(map(len, splits.train_objects)) + sum(map(len, splits.test_objects)) == 4888 - 2
    splits = _load(root, bad="skip_images")
    names = [splits.train.names[index] for index in splits.excluded]
    assert sorted(names) == ["BloodImage_00338.jpg", "BloodImage_00343.jpg"] and len(splits.train) == 292


@pytest.mark.parametrize("root", [_real("ALPL_VOC_ROOT")])
def test_the_subset_of_voc_is_read_whole(root):
    splits = VOC(root, verify_images=True).load()
    objects = [*splits.train_objects, *splits.test_objects]
    assert (len(splits.train), len(splits.test)) == (2000, 1000)
    labels = torch.cat([each.labels for each in objects])
    assert len(labels) == 9028 and int(sum(each.difficult.sum() for each in objects)) == 1788
    counts = dict(zip(CLASSES, labels.bincount().tolist(), strict=True))
    assert (counts["person"], counts["bus"], counts["tvmonitor"]) == (3123, 153, 218)
    assert len(splits.excluded) == 0 and splits.train.sizes.max() == 300
