import json
import re

import pytest
import torch
from fake.coco import CATEGORIES, HEIGHT, WIDTH, annotation_file, make_coco, write_json

from alpl.data.coco import COCO, COCOFolder
from alpl.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path):
    return make_coco(tmp_path)


def _edit(root, change, name="train2017"):
    file = annotation_file(root, name)
    content = json.loads(file.read_text())
    change(content)
    write_json(file, content)
    return file


def _fails(root, message):
    with pytest.raises(DataError, match=message):
        COCO(str(root), bad="error").load()


def test_order_is_that_of_images_and_labels_follow_category_ids(root):
    splits = COCO(str(root), bad="error").load()
    assert splits.classes == ("person", "car", "toothbrush") and list(CATEGORIES) != sorted(CATEGORIES)
    assert splits.train.names == tuple(f"{number:012d}.png" for number in (9, 4, 7, 2))
    assert [each.labels.tolist() for each in splits.train_objects] == [[0], [], [2, 1], [0]]
    assert [each.difficult.tolist() for each in splits.train_objects] == [[False], [], [False, False], [True]]
    assert [each.labels.tolist() for each in splits.test_objects] == [[2], [1]]
    assert [int(splits.train[k][0, 0, 0]) for k in range(4)] == [9, 4, 7, 2]
    assert [int(splits.test[k][0, 0, 0]) for k in range(2)] == [30, 20]
    assert splits.train.sizes.tolist() == [[HEIGHT, WIDTH]] * 4


def test_boxes_are_corners(root):
    objects = COCO(str(root), bad="error").load().train_objects
    assert objects[2].boxes.tolist() == [[0.0, 1.5, 10.0, 21.5], [2.0, 1.5, 12.0, 21.5]]


def test_as_released_keeps_annotated_images_in_the_order_of_their_first_annotation(root):
    splits = COCO(str(root), bad="error", listing="as_released").load()
    assert splits.train.names == tuple(f"{number:012d}.png" for number in (7, 9, 2))
    assert [each.labels.tolist() for each in splits.train_objects] == [[2, 1], [0], [0]]
    assert splits.test.names == tuple(f"{number:012d}.png" for number in (30, 20))  # never reordered


def test_as_released_crowds_are_objects_in_training(root):
    splits = COCO(str(root), bad="error", crowds="as_released").load()
    assert [each.difficult.tolist() for each in splits.train_objects] == [[False], [], [False, False], [False]]
    _edit(root, lambda content: [each.update(iscrowd=1) for each in content["annotations"]], "val2017")
    splits = COCO(str(root), bad="error", crowds="as_released").load()
    assert [each.difficult.tolist() for each in splits.test_objects] == [[True], [True]]


def test_2014_is_tested_on_val2017(tmp_path):
    splits = COCO(str(make_coco(tmp_path, 2014)), 2014).load()
    assert "train2014" in splits.train.paths[0] and "val2017" in splits.test.paths[0]


def test_a_folder_of_ones_own_matches_classes_by_name(root):
    def renumber(content):
        for each in content["categories"]:
            each["id"] += 1000
        for each in content["annotations"]:
            each["category_id"] += 1000

    _edit(root, renumber, "val2017")
    files = [f"annotations/instances_{name}.json" for name in ("train2017", "val2017")]
    splits = COCOFolder(str(root), files[0], "train2017", files[1], "val2017").load()
    assert [each.labels.tolist() for each in splits.test_objects] == [[2], [1]]


def test_a_test_class_that_was_not_trained_is_unknown(root):
    _edit(root, lambda content: content["categories"][0].update(name="unicorn"), "val2017")
    _fails(root, r"instances_val2017.json, image 000000000030.png: the 'unicorn' box .* is of an unknown class")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"bbox": [1.0, 1.5, 0.0, 20.0]}, "the 'person' box (1, 1.5, 1, 21.5) has no area"),
        ({"bbox": [1.0, 1.5, 9.0, -2.0]}, "the 'person' box (1, 1.5, 10, -0.5) has no area"),
        ({"bbox": [35.0, 1.5, 10.0, 20.0]}, "the 'person' box (35, 1.5, 45, 21.5) lies outside the image"),
        ({"category_id": 2}, "the 'category 2' box (1, 1.5, 11, 21.5) is of an unknown class"),
        ({"bbox": [1.0, 1.5, 9.0]}, "the 'person' annotation must have a bbox of four numbers, got [1.0, 1.5, 9.0]"),
        ({"bbox": None}, "the 'person' annotation must have a bbox of four numbers, got None"),
        ({"iscrowd": "maybe"}, "the 'person' annotation must have an iscrowd of 0 or 1, got 'maybe'"),
        ({"iscrowd": 2}, "the 'person' annotation must have an iscrowd of 0 or 1, got '2'"),
        ({"bbox": [1.0, float("nan"), 9.0, 9.0]}, "the 'person' annotation must have a bbox of four numbers"),
    ],
)
def test_bad_boxes_are_named_and_skipped_as_asked(root, change, what):
    file = _edit(root, lambda content: content["annotations"][1].update(change))
    _fails(root, re.escape(f"1 problems with images or boxes: {file}, image 000000000009.png: {what}"))
    lost = ["person"]  # whose other box is a crowd
    assert len(COCO(str(root), allow_lost=lost).load().train_objects[0]) == 0  # the default skips boxes
    assert COCO(str(root), allow_lost=lost).load().excluded.tolist() == [0]  # which had no other
    splits = COCO(str(root), bad="skip_images", allow_lost=lost).load()
    assert splits.excluded.tolist() == [0] and splits.train_objects[2].labels.tolist() == [2, 1]


@pytest.mark.parametrize(("written", "difficult"), [("0", False), (" False", False), (None, False), (0.0, False),
                                                    ("1", True), (True, True)])  # fmt: skip
def test_crowds_may_be_written_as_texts(root, written, difficult):
    _edit(root, lambda content: [each.update(iscrowd=written) for each in content["annotations"]])
    objects = COCO(str(root), bad="error").load().train_objects
    assert torch.cat([each.difficult for each in objects]).tolist() == [difficult] * 4


def test_images_outside_of_their_folder_are_refused_and_not_opened(root):
    for name in ("../val2017/000000000030.png", str(root / "val2017" / "000000000030.png")):
        file = _edit(root, lambda content, name=name: content["images"][0].update(file_name=name))
        path = root / "val2017" / "000000000030.png"
        said = f"{file}: {path} lies outside of {root / 'train2017'}; data.source.outside=true reads it"
        _fails(root, re.escape(said))
        splits = COCO(str(root), bad="skip_images", allow_lost=["person"]).load()
        assert splits.excluded.tolist() == [0] and splits.train.sizes[0].tolist() == [0, 0]
        assert splits.train.contents()[0] == ""
    path.rename(root / "elsewhere.png")
    _edit(root, lambda content: content["images"].pop(0), "val2017")
    _edit(root, lambda content: content["annotations"].pop(1), "val2017")
    _edit(root, lambda content: content["images"][0].update(file_name="../elsewhere.png"))
    assert len(COCO(str(root), bad="error", outside=True).load().excluded) == 0


@pytest.mark.parametrize(
    "name", ["a\0.png", "a\\b\0.png", "a\\" + "b" * 300, "b" * 300, "\ud800.png", "\n.png", "", ".", "/"], ids=ascii
)
def test_names_that_no_file_can_have_are_named_and_skipped(root, name):
    _edit(root, lambda content: content["images"].extend([dict(content["images"][0], id=key) for key in (70, 71)]))
    _edit(root, lambda content: [each.update(file_name=name) for each in content["images"][-2:]])
    with pytest.raises(DataError) as caught:
        COCO(str(root), bad="error").load()
    assert str(root) in str(caught.value) and "\n" not in str(caught.value)
    splits = COCO(str(root), bad="skip_images").load()
    assert splits.excluded.tolist() == [4, 5]
    assert splits.train.contents()[4:] == ["", ""] and splits.train.stamps().shape == (6, 2)


def test_an_id_of_many_digits_is_one(root):
    many = "1" * 5000
    _edit(root, lambda content: content["images"][1].update(id=many))
    _edit(root, lambda content: content["annotations"][0].update(image_id=many))
    assert [len(each) for each in COCO(str(root), bad="error").load().train_objects] == [1, 1, 1, 1]


def test_a_box_of_no_image_is_named(root):
    _edit(root, lambda content: content["annotations"][0].update(image_id=5))
    _fails(
        root, "an annotation must have a category_id and the image_id of a listed image, got image_id=5, category_id=90"
    )
    assert [len(each) for each in COCO(str(root)).load().train_objects] == [1, 0, 1, 1]


def test_an_annotation_without_category_is_named(root):
    _edit(root, lambda content: content["annotations"][0].pop("category_id"))
    _fails(root, "1 problems .* an annotation must have a category_id")


def test_images_given_twice_are_named(root):
    _edit(root, lambda content: content["images"].append(dict(content["images"][0], id=77)))
    _fails(root, "1 problems .*000000000009.png: listed twice in train, as images 0 and 4")
    _edit(root, lambda content: content["images"][-1].update(id=9, file_name="000000000002.png"))
    _fails(root, "the image id 9 is given twice, to 000000000009.png and 000000000002.png")
    assert COCO(str(root)).load().excluded.tolist() == [4]


def test_a_stated_size_must_be_the_files(root):
    _edit(root, lambda content: content["images"][0].update(height=WIDTH, width=HEIGHT))
    _fails(root, "000000000009.png: has 40 x 30 pixels, but 30 x 40 in")
    _edit(root, lambda content: [content["images"][0].pop(key) for key in ("height", "width")])
    assert COCO(str(root), bad="error").load().train.sizes[0].tolist() == [HEIGHT, WIDTH]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("images"), "must hold a list 'images'"),
        (lambda content: content.update(annotations={}), "must hold a list 'annotations'"),
        (
            lambda content: content["categories"][0].update(id=1),
            r"must have different ids \(numbers or texts\), got \[1, 1, 3\]",
        ),
        (
            lambda content: content["categories"][0].pop("name"),
            r"must have different names \(texts\), got \[None, 'per",
        ),
        (lambda content: content.update(categories=[]), r"must have different ids \(numbers or texts\), got \[\]"),
        (lambda content: content["images"][0].pop("file_name"), "every image must have an id and a file_name, got"),
        (lambda content: content.update(images=[]), "the train split lists no image"),
    ],
)
def test_files_that_are_not_coco_are_named(root, change, message):
    file = _edit(root, change)
    _fails(root, f"^{re.escape(str(file))}: .*{message}")


@pytest.mark.parametrize("text", ["", "{", '{"images": [}', "\udc80", "[" * 100_000], ids=lambda text: ascii(text)[:20])
def test_broken_json_is_named(root, text):
    file = annotation_file(root, "train2017")
    file.write_text(text, errors="surrogateescape")
    _fails(root, f"{re.escape(str(file))}: is not valid JSON")


def test_json_that_is_a_list_is_named(root):
    write_json(annotation_file(root, "train2017"), [1])
    _fails(root, "must hold an object, as COCO's instances_.*json do, got a list")


def test_what_is_missing_is_named(root):
    annotation_file(root, "val2017").rename(root / "elsewhere")
    _fails(root, "instances_val2017.json: the annotations cannot be read")
    (root / "train2017").rename(root / "images")
    _fails(root, "train2017: there is no such folder of images")


def test_boxes_lie_in_few_large_tensors(root):
    objects = COCO(str(root)).load().train_objects
    assert objects[0].boxes.untyped_storage().data_ptr() == objects[2].boxes.untyped_storage().data_ptr()
    assert torch.equal(objects[2].boxes, objects.objects.boxes[1:3])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"year": 2015}, "year must be 2014 or 2017, got 2015"),
        ({"listing": "sorted"}, "listing must be one of as_written, as_released, got 'sorted'"),
        ({"bad": "ignore"}, "bad must be one of error, skip_images, skip_boxes, got 'ignore'"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        COCO("anywhere", **settings)
