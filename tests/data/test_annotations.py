import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from alpl.data import checked_split, image_files, repeats
from alpl.data.annotation_checks import make_splits
from alpl.data.annotations import SLACK, Annotations, Policy, Problem
from alpl.data.image_files import read_size
from alpl.errors import ConfigError, DataError

SIZE = (30, 40)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for k in range(12):
        Image.fromarray(np.full((*SIZE, 3), k, dtype=np.uint8)).save(folder / f"{k}.png")
    return folder


def _split(images, numbers, boxes=(), split="train", shift=(0.0, 0.0), file="all.json"):
    annotations = Annotations(split, shift)
    for number in numbers:
        annotations.add_image(f"{number}.png", images / f"{number}.png", file, None)
    for row, box, *name in boxes:
        annotations.add_box(row, box, *(name or ["dog"]))
    return annotations


def _make(images, train, test=None, **policy):
    test = _split(images, [10, 11], [(1, (1, 1, 9, 9))], split="test") if test is None else test
    return make_splits("Set", train, test, ("cat", "dog"), Policy(**policy))


def test_all_problems_are_named_in_the_order_of_the_images(images, caplog):
    train = _split(images, [0, "none", 2, 0], [(2, (0, 0, 5, 5), "cow"), (0, (3, 3, 3, 9)), (0, (0, 0, 41.5, 9))])
    test = _split(images, [10, 11], [(1, (5, 5, 2, 9))], split="test")
    with pytest.raises(DataError) as caught:
        _make(images, train, test)
    expected = [
        "all.json, image 0.png: the 'dog' box (3, 3, 3, 9) has no area (image of 40 x 30 pixels)",
        "all.json, image 0.png: the 'dog' box (0, 0, 41.5, 9) lies outside the image (image of 40 x 30 pixels)",
        f"{images / 'none.png'}: there is no such image",
        "all.json, image 2.png: the 'cow' box (0, 0, 5, 5) is of an unknown class (image of 40 x 30 pixels)",
        f"{images / '0.png'}: listed twice in train, as images 0 and 3",
        "all.json, image 11.png: the 'dog' box (5, 5, 2, 9) has no area (image of 40 x 30 pixels)",
    ]
    assert str(caught.value) == (
        f"Set: 6 problems with images or boxes: {'; '.join(expected)} "
        "(bad=skip_boxes or bad=skip_images goes on without them)"
    )
    assert not caplog.records


def test_the_error_names_ten_and_the_log_all(images, caplog):
    train = _split(images, [0], [(0, (k, 1, k, 2)) for k in range(12)])
    with pytest.raises(DataError) as caught:
        _make(images, train)
    message = str(caught.value)
    assert "12 problems" in message and "(9, 1, 9, 2)" in message and "(10, 1, 10, 2)" not in message
    assert "; and 2 more, all of them in the log (bad=" in message
    assert all(f"({k}, 1, {k}, 2)" in caplog.text for k in range(12))


def test_what_is_skipped_is_logged(images, caplog):
    train = _split(images, [0, 1, "none"], [(0, (1, 1, 1, 2)), (0, (1, 1, 2, 2)), (1, (1, 1, 2, 2))])
    splits = _make(images, train, bad="skip_boxes")
    record = caplog.records[0]
    assert (record.name, record.levelno) == ("alpl", logging.WARNING)
    lines = record.getMessage().splitlines()
    assert lines[0] == "Set: 2 problems with images or boxes (skip_boxes):" and len(lines) == 3
    assert "(1, 1, 1, 2) has no area" in lines[1] and "none.png: there is no such image" in lines[2]
    assert splits.excluded.tolist() == [2]


def test_nothing_is_logged_when_nothing_is_wrong(images, caplog):
    train = _split(images, [0], [(0, (1, 1, 2, 2)), (0, (1, 1, 2, 2), "cat")])
    assert _make(images, train).excluded.tolist() == [] and not caplog.records


def test_a_split_that_never_had_an_object_is_told(images, caplog):
    assert len(_make(images, _split(images, [0])).train_objects[0]) == 0
    assert [record.getMessage() for record in caplog.records] == [
        "Set: the annotations of the train split hold no object"
    ]


def test_what_loses_all_is_an_error_of_its_own(images):
    lost = _split(images, [0, 1, 2], [(0, (1, 1, 1, 2)), (1, (1, 1, 2, 1))])
    with pytest.raises(DataError, match=r"no object is left in the train split: all 2 have problems \(bad=skip_boxes"):
        _make(images, lost, bad="skip_boxes")
    boxes = [(0, (1, 1, 1, 2), "cat"), (0, (1, 1, 2, 2)), (1, (1, 1, 2, 2))]
    for bad in ("skip_boxes", "skip_images"):
        with pytest.raises(DataError, match=rf"class 'cat' loses all 1 objects of the train split \(bad={bad}"):
            _make(images, _split(images, [0, 1], boxes), bad=bad)
    splits = _make(images, _split(images, [0, 1], boxes), bad="skip_boxes", allow_lost=("cat",))
    assert [each.labels.tolist() for each in splits.train_objects] == [[1], [1]]


def test_a_class_that_the_test_loses_is_an_error_of_its_own(images):
    train = [(0, (1, 1, 9, 9)), (0, (1, 1, 9, 9), "cat")]
    test = [(0, (1, 1, 1, 2), "cat"), (0, (1, 1, 9, 9)), (1, (1, 1, 9, 9))]

    def made(*hard, **policy):
        split = _split(images, [10, 11], test, split="test")
        for box in hard:
            split.add_box(*box, difficult=True)
        return _make(images, _split(images, [0], train), split, **policy)

    for bad, hard in (("skip_boxes", ()), ("skip_images", ()), ("skip_boxes", [(1, (1, 1, 9, 9), "cat")])):
        with pytest.raises(DataError, match=rf"class 'cat' loses all 1 objects of the test split \(bad={bad}"):
            made(*hard, bad=bad)
    splits = made(bad="skip_boxes", allow_lost=("cat",))
    assert [each.labels.tolist() for each in splits.test_objects] == [[1], [1]]


def test_difficult_objects_are_no_objects_left(images):
    lost, hard = (0, (1, 1, 1, 2), "cat"), (0, (1, 1, 9, 9), "cat")
    train = _split(images, [0], [lost, (0, (1, 1, 9, 9))])
    train.add_box(*hard, difficult=True)
    with pytest.raises(DataError, match=r"class 'cat' loses all 1 objects of the train split \(bad=skip_boxes"):
        _make(images, train, bad="skip_boxes")
    train = _split(images, [0], [lost])
    train.add_box(*hard, difficult=True)
    with pytest.raises(DataError, match=r"is left in the train split: all 1 that are not difficult have problems"):
        _make(images, train, bad="skip_boxes")


def test_a_class_without_objects_is_told_and_an_error_where_others_are_unknown(images, caplog):
    boxes = [(0, (1, 1, 9, 9), "cat"), (0, (1, 1, 9, 9), "Dog"), (1, (1, 1, 9, 9), "cat"), (1, (1, 1, 9, 9), "Dog")]
    for bad, allowed in (("skip_boxes", ()), ("skip_images", ("cat",))):
        with pytest.raises(DataError) as caught:
            _make(images, _split(images, [0, 1, 2], [*boxes, (2, (1, 1, 9, 9), "cat")]), bad=bad, allow_lost=allowed)
        assert str(caught.value) == (
            "Set: no object of the train split that is not difficult is of class 'dog', and boxes of unknown classes "
            f"are skipped: 2 of 'Dog' (bad={bad}); data.source.allow_lost=[dog] goes on"
        )
    splits = _make(images, _split(images, [0, 1], boxes), bad="skip_boxes", allow_lost=("dog",))
    assert [each.labels.tolist() for each in splits.train_objects] == [[0], [0]]
    caplog.clear()
    _make(images, _split(images, [0], boxes[:1]))
    assert caplog.messages == ["Set: no object of the train split that is not difficult is of class 'dog'"]


def test_skipped_images_keep_their_position_in_the_pool(images):
    train = _split(images, [0, 1, 2], [(1, (1, 1, 1, 2)), (1, (1, 1, 9, 9)), (2, (1, 1, 3, 3))])
    splits = _make(images, train, bad="skip_images")
    assert splits.train.names == ("0.png", "1.png", "2.png") and splits.excluded.tolist() == [1]
    assert [len(each) for each in splits.train_objects] == [0, 0, 1]
    assert int(splits.train[2][0, 0, 0]) == 2


def test_skipped_test_images_are_removed(images):
    test = _split(images, ["none", 10, 11], [(2, (1, 1, 9, 9)), (1, (0, 0, 0, 1))], split="test")
    boxes = _make(images, _split(images, [0]), test, bad="skip_boxes")  # an image that loses all is not an empty one
    assert boxes.test.names == ("11.png",) and [len(each) for each in boxes.test_objects] == [1]
    skipped = _make(images, _split(images, [0]), test, bad="skip_images")
    assert skipped.test.names == ("11.png",) and skipped.test_objects[0].boxes.tolist() == [[1, 1, 9, 9]]
    assert skipped.excluded.tolist() == []


def test_a_training_image_that_is_a_test_image_is_a_problem(images):
    with pytest.raises(DataError, match=r"10.png: listed in train and in test"):
        _make(images, _split(images, [0, 10]))
    splits = _make(images, _split(images, [0, 10]), bad="skip_boxes")
    assert splits.excluded.tolist() == [1] and len(splits.test) == 2


def test_boxes_come_with_their_images_in_whatever_order_they_are_listed(images):
    train = _split(images, [0, 1, 2], [(2, (2, 1, 9, 9)), (0, (0, 1, 9, 9), "cat"), (2, (1, 1, 9, 9), "cat")])
    objects = _make(images, train).train_objects
    assert [each.boxes[:, 0].tolist() for each in objects] == [[0], [], [2, 1]]
    assert [each.labels.tolist() for each in objects] == [[0], [], [1, 0]]
    assert objects[-1].labels.tolist() == [1, 0] and [len(each) for each in objects[:-1]] == [1, 0]
    with pytest.raises(IndexError):
        objects[3]


@given(
    st.lists(
        st.tuples(st.integers(0, 2), *[st.integers(-3, 45)] * 4, st.sampled_from(["cat", "dog", "cow"])), max_size=12
    ),
    st.sampled_from([(0.0, 0.0), (-1.0, 0.0), (-1.0, -1.0)]),
)
def test_kept_boxes_are_those_a_slow_reader_keeps(images, listed, shift):
    listed = [*listed, (0, 1, 1, 9, 9, "cat"), (0, 1, 1, 9, 9, "dog")]  # a class that loses all is an error
    expected, bad, written = [[] for _ in range(3)], set(), {row for row, *_ in listed}
    for row, x1, y1, x2, y2, name in listed:
        a, b, c, d = x1 + shift[0], y1 + shift[0], x2 + shift[1], y2 + shift[1]
        within = min(a, b) >= -SLACK and c <= SIZE[1] + SLACK and d <= SIZE[0] + SLACK
        a, b, c, d = max(a, 0), max(b, 0), min(c, SIZE[1]), min(d, SIZE[0])
        if x2 > x1 and y2 > y1 and c > a and d > b and within and name != "cow":
            expected[row].append([a, b, c, d])
        else:
            bad.add(row)
    boxes = [(row, box, name) for row, *box, name in listed]
    splits = _make(images, _split(images, [0, 1, 2], boxes, shift=shift), bad="skip_boxes")
    assert [each.boxes.tolist() for each in splits.train_objects] == expected
    assert splits.excluded.tolist() == [row for row in range(3) if row in written and not expected[row]]
    if 0 not in bad:
        skipped = _make(images, _split(images, [0, 1, 2], boxes, shift=shift), bad="skip_images")
        assert skipped.excluded.tolist() == sorted(bad)
        assert [len(each) for each in skipped.train_objects] == [0 if k in bad else len(expected[k]) for k in range(3)]


def test_a_box_beside_the_image_is_not_clipped_to_nothing(images):
    for box in ((40, 3, 41, 9), (-1, 3, 0, 9), (3, 30, 9, 31)):
        with pytest.raises(DataError, match=r"has no area within the image \(image of 40 x 30 pixels\)"):
            _make(images, _split(images, [0], [(0, box)]))


def test_numbers_that_are_not_finite_are_named(images):
    for value in (float("nan"), float("inf")):
        with pytest.raises(DataError, match=r"has numbers that are not finite"):
            _make(images, _split(images, [0], [(0, (1, 1, value, 3))]))


def test_broken_images_are_found_by_their_header_or_by_decoding_them(images, tmp_path):
    whole = (images / "3.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:-30])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    splits = _make(images, _split(tmp_path, ["cut", "text", "empty", "folder"]), bad="skip_boxes")
    assert splits.excluded.tolist() == [1, 2, 3] and splits.train.sizes.tolist()[1] == [0, 0]
    with pytest.raises(DataError, match=r"1 problems .*cut.png: cannot be decoded: "):
        _make(images, _split(tmp_path, ["cut"]), verify_images=True)


def test_boxes_of_a_broken_image_are_not_called_outside(images):
    train = _split(images, [0, "none"], [(1, (0, 0, 500, 500)), (1, (3, 3, 3, 3))])
    with pytest.raises(DataError) as caught:
        _make(images, train)
    assert "2 problems" in str(caught.value) and "(3, 3, 3, 3) has no area;" not in str(caught.value)
    assert "(3, 3, 3, 3) has no area (bad=" in str(caught.value)


def test_no_image_left_is_an_error(images):
    with pytest.raises(DataError, match="every image of the train split has a problem, so that none is left"):
        _make(images, _split(images, ["none"]), bad="skip_boxes")
    with pytest.raises(DataError, match="the test split lists no image"):
        _make(images, _split(images, [0]), _split(images, [], split="test"))


def test_training_images_are_cached_first(images):
    one = 3 * SIZE[0] * SIZE[1]
    splits = _make(images, _split(images, [0, 1]), cache_bytes=3 * one)
    for images_of, expected in ((splits.train, 2), (splits.test, 1)):
        for k in range(2):
            images_of[k]
        assert images_of.cached_bytes == expected * one


def test_a_file_of_one_image_is_named_alone(images):
    with pytest.raises(DataError, match=r": labels/0.xml: the 'dog' box"):
        _make(images, _split(images, [0], [(0, (1, 1, 1, 1))], file="labels/0.xml"))


def test_a_problem_reads_as_file_and_reason():
    assert str(Problem(str(Path("a") / "b.xml"), "is bad")) == "a/b.xml: is bad"


@pytest.mark.parametrize(
    ("policy", "message"),
    [(Policy("drop"), "bad must be one of error, "), (Policy(cache_bytes=-1), "cache_bytes must be >= 0, got -1")],
)
def test_wrong_policies(policy, message):
    with pytest.raises(ConfigError, match=message):
        policy.check()


def test_labels_and_marks_have_their_types_without_any_box(images):
    objects = _make(images, _split(images, [0])).train_objects[0]
    assert objects.boxes.shape == (0, 4) and objects.difficult.dtype == torch.bool


def test_boxes_of_an_unknown_class_share_a_line(images, caplog):
    boxes = [(k % 3, (k, 1, k + 2, 9), "cow") for k in range(30)]
    boxes += [(1, (0, 1, 2, 9), "emu"), (2, (5, 5, 5, 9), "cow"), (0, (0, 1, 2, 9), "cat")]
    with pytest.raises(DataError) as caught:
        _make(images, _split(images, [0, 1, 2], boxes))
    assert str(caught.value) == (
        "Set: 32 problems with images or boxes: "
        "30 boxes are of the unknown class 'cow', the first in all.json, image 0.png; "
        "all.json, image 1.png: the 'emu' box (0, 1, 2, 9) is of an unknown class (image of 40 x 30 pixels); "
        "all.json, image 2.png: the 'cow' box (5, 5, 5, 9) has no area (image of 40 x 30 pixels) "
        "(bad=skip_boxes or bad=skip_images goes on without them)"
    )
    assert not caplog.records
    splits = _make(images, _split(images, [0, 1, 2], boxes), bad="skip_boxes", allow_lost=("dog",))
    assert [len(each) for each in splits.train_objects] == [1, 0, 0]
    (record,) = caplog.records
    assert len(record.getMessage().splitlines()) == 4


# --- images that come again


@pytest.fixture
def repeated(tmp_path):
    """0 to 3 and 10, 11; 2 is a copy of 1, and 10 of 3."""
    for k in (0, 1, 3, 11):
        Image.fromarray(np.full((*SIZE, 3), k, dtype=np.uint8)).save(tmp_path / f"{k}.png")
    for copy, original in ((2, 1), (10, 3)):
        (tmp_path / f"{copy}.png").write_bytes((tmp_path / f"{original}.png").read_bytes())
    return tmp_path


def test_copies_are_told(repeated, caplog):
    splits = _make(repeated, _split(repeated, range(4)))
    assert len(splits.train) == 4 and splits.excluded.tolist() == []
    assert caplog.messages[0] == (
        "Set: images with the same bytes (2, of which 1 in train and in test): "
        f"{repeated / '1.png'} = {repeated / '2.png'}; {repeated / '3.png'} = {repeated / '10.png'}"
    )


def test_copies_are_problems_where_that_is_asked_for(repeated):
    with pytest.raises(DataError) as caught:
        _make(repeated, _split(repeated, range(4)), repeats="error")
    assert f"{repeated / '2.png'}: has the same bytes as {repeated / '1.png'} in train" in str(caught.value)
    assert f"{repeated / '3.png'}: has the same bytes as {repeated / '10.png'} in test" in str(caught.value)
    splits = _make(repeated, _split(repeated, range(4)), repeats="error", bad="skip_images")
    assert splits.excluded.tolist() == [2, 3] and len(splits.test) == 2
    with pytest.raises(ConfigError, match="repeats must be one of error, warn, got 'no'"):
        Policy(repeats="no").check()


def test_a_link_is_the_image_that_it_leads_to(repeated, caplog):
    for link, original in ((20, 0), (21, 11)):
        (repeated / f"{link}.png").symlink_to(f"{original}.png")
    with pytest.raises(DataError) as caught:
        _make(repeated, _split(repeated, [0, 20, 21]))
    assert f"20.png: listed twice in train, as images 0 and 1, as {repeated / '0.png'}" in str(caught.value)
    assert f"21.png: listed in train and in test, as {repeated / '11.png'}" in str(caught.value)
    assert not caplog.records


# --- files that must not be opened


@pytest.mark.timeout(20)
def test_pipes_and_devices_are_refused_and_never_opened(repeated):
    for name in (20, 21):
        os.mkfifo(repeated / f"{name}.png")
    (repeated / "22.png").write_bytes(b"")
    (repeated / "23.png").symlink_to("/dev/zero")
    with pytest.raises(DataError) as caught:
        _make(repeated, _split(repeated, [0, 20, 21, 22, 23]))
    assert all(f"{name}.png: cannot be decoded: is no regular file" in str(caught.value) for name in (20, 21, 23))
    splits = _make(repeated, _split(repeated, [0, 20, 21, 22, 23]), bad="skip_images")
    assert splits.excluded.tolist() == [1, 2, 3, 4]
    assert [bool(each) for each in splits.train.contents()] == [True, False, False, True, False]


def test_refused_files_are_not_opened(repeated, monkeypatch):
    opened = []

    def listen(module, name):
        ask = getattr(module, name)
        monkeypatch.setattr(module, name, lambda path, **how: opened.append(Path(path).name) or ask(path, **how))

    for module, name in ((checked_split, "read_size"), (repeats, "_end"), (repeats, "content_of")):
        listen(module, name)
    listen(image_files, "content_of")
    train = _split(repeated, [0, 1, 2])
    train.refuse(1, "all.json", "lies elsewhere")
    splits = _make(repeated, train, bad="skip_images", verify_images=True)
    assert splits.excluded.tolist() == [1]
    assert [bool(each) for each in splits.train.contents()] == [True, False, True]
    assert "2.png" in opened and "1.png" not in opened


# --- images that broke off


def test_an_image_that_broke_off_is_named_before_training_and_decoded_once(repeated, monkeypatch):
    broken = repeated / "1.png"
    broken.write_bytes(broken.read_bytes()[:60])
    train = [0, 1, 3]
    assert len(_make(repeated, _split(repeated, train), repeats="warn").train) == 3, "its header is whole"
    with pytest.raises(DataError, match=r"1.png: cannot be decoded"):
        _make(repeated, _split(repeated, train), verify_images=True)
    decoded = []

    def read(path, *, decode, max_megapixels):
        decoded.extend([path] * decode)
        return read_size(path, decode=decode, max_megapixels=max_megapixels)

    monkeypatch.setattr(checked_split, "read_size", read)
    splits = _make(repeated, _split(repeated, train), verify_images=True, bad="skip_images")
    assert splits.excluded.tolist() == [1]
    assert decoded == [str(broken)], "the others were whole, and have not changed since"
