import re
import shutil

import pytest
import torch
from fake.tiny_imagenet import WNIDS, level, make_tiny_imagenet, save_image

from alpl.data.long_tail import StepImbalance
from alpl.data.tiny_imagenet import TinyImageNet, _natural_key
from alpl.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path):
    return make_tiny_imagenet(tmp_path)


def _load(folder, num_workers=2):
    return TinyImageNet(str(folder.parent), num_workers=num_workers).load()


def _fails(folder, *parts):
    with pytest.raises(DataError, match="^TinyImageNet: .*".join(["", *map(re.escape, parts[:1])])) as caught:
        _load(folder)
    assert all(part in str(caught.value) for part in parts) and "\n" not in str(caught.value)


def test_order_is_that_of_wnids_then_natural(folder):
    splits = _load(folder)
    assert splits.train.targets.tolist() == [c for c in range(3) for _ in range(12)]
    assert splits.test.targets.tolist() == [c for c in range(3) for _ in range(4)]
    expected = [level(c, k) for c in range(3) for k in range(12)]  # image 10 after image 9, not after image 1
    assert (splits.train.images.float().mean((1, 2, 3)) - torch.tensor(expected)).abs().max() <= 1
    expected = [level(c, k) for c in range(3) for k in range(12) if k % 3 == c]
    assert (splits.test.images.float().mean((1, 2, 3)) - torch.tensor(expected)).abs().max() <= 1


def test_gray_images_fill_three_channels(folder):
    images = _load(folder).train.images
    assert images.shape == (36, 3, 64, 64)
    assert torch.equal(images[5, 0], images[5, 2]) and abs(int(images[5, 1, 0, 0]) - level(0, 5)) <= 1


def test_class_names_are_those_of_words(folder):
    assert _load(folder).classes == tuple(f"name of {wnid}, second name" for wnid in WNIDS)


def test_threads_change_nothing(folder):
    one, many = _load(folder, 1), _load(folder, 7)
    assert torch.equal(one.train.images, many.train.images) and torch.equal(one.test.targets, many.test.targets)


def test_a_missing_folder_says_where_to_put_it(tmp_path):
    _fails(
        tmp_path / "tiny-imagenet-200",
        "there is no folder",
        str(tmp_path / "tiny-imagenet-200" / "wnids.txt"),
    )


@pytest.mark.parametrize("name", ["wnids.txt", "words.txt", "val/val_annotations.txt"])
def test_a_missing_list_is_named(folder, name):
    (folder / name).unlink()
    _fails(folder, f"{folder / name} cannot be read")


def test_all_broken_images_are_named(folder):
    images = folder / "train" / WNIDS[0] / "images"
    truncated, empty, text = (images / f"{WNIDS[0]}_{k}.JPEG" for k in (1, 2, 3))
    truncated.write_bytes(truncated.read_bytes()[:-200])
    empty.write_bytes(b"")
    text.write_text("no image")
    small = folder / "val" / "images" / "val_7.JPEG"
    save_image(small, 9, "RGB", side=63)
    sizes = f"{small} (63 x 63 pixels, not 64 x 64)"
    _fails(
        folder,
        "broken images: 4: ",
        f"{truncated} (",
        f"{empty} (not an image)",
        f"{text} (not an image)",
        sizes,
    )


def test_the_first_ten_broken_images_are_named_and_all_counted(folder):
    for k in range(12):
        (folder / "train" / WNIDS[1] / "images" / f"{WNIDS[1]}_{k}.JPEG").write_bytes(b"")
    _fails(folder, "broken images: 12: ", f"{WNIDS[1]}_9.JPEG (not an image) and 2 more")


def test_an_incomplete_class_is_named(folder):
    (folder / "train" / WNIDS[1] / "images" / f"{WNIDS[1]}_3.JPEG").unlink()
    _fails(folder, f"{folder / 'train'} must hold 12 images of every class, got fewer of 1: {WNIDS[1]} (11)")
    shutil.rmtree(folder / "train" / WNIDS[1])
    _fails(folder, f"got fewer of 1: {WNIDS[1]} (0)")


def test_no_train_image_at_all_is_an_error(folder):
    shutil.rmtree(folder / "train")
    _fails(folder, f"{folder / 'train'} holds no image")


def test_an_image_without_annotation_is_named(folder):
    save_image(folder / "val" / "images" / "val_99.JPEG", 9, "RGB")
    _fails(folder, "val_annotations.txt has no line for 1: val_99.JPEG")


def test_an_annotation_without_image_is_named(folder):
    (folder / "val" / "images" / "val_5.JPEG").unlink()
    _fails(folder, f"{folder / 'val' / 'images'} lacks 1: val_5.JPEG")


@pytest.mark.parametrize("line", ["val_0.JPEG\tn00000000\t0\t0\t1\t1", "val_0.JPEG"])
def test_an_unknown_wnid_is_named(folder, line):
    file = folder / "val" / "val_annotations.txt"
    file.write_text("\n".join([line, *file.read_text().splitlines()[1:]]))
    _fails(folder, "gives no known wnid for 1: val_0.JPEG")


def test_a_class_without_words_is_named(folder):
    (folder / "words.txt").write_text(f"{WNIDS[0]}\tcat\n")
    _fails(folder, f"does not name 2: {WNIDS[1]}, {WNIDS[2]}")


def test_num_workers_must_be_positive():
    with pytest.raises(ConfigError, match="num_workers must be >= 1, got 0"):
        TinyImageNet("anywhere", num_workers=0)


def test_natural_order():
    names = ["b2", "a10", "a9", "a09x", "10", "9", "a"]
    assert sorted(names, key=_natural_key) == ["9", "10", "a", "a9", "a09x", "a10", "b2"]


def test_the_first_images_of_each_class_take_part(folder):
    assert _load(folder).excluded is None
    source = TinyImageNet(str(folder.parent), num_workers=2, per_class=10)
    splits = source.load()
    assert splits.excluded.tolist() == [10, 11, 22, 23, 34, 35] and len(splits.train) == 36
    thinned = StepImbalance(source, 0.5, 6, seed=0).load()  # of 8 that are left the one class of three keeps 4
    assert len(thinned.excluded) == 6 + 4 and len(thinned.reserved) == 6
    assert not torch.isin(thinned.reserved, splits.excluded).any()


@pytest.mark.parametrize(
    ("number", "message"), [(13, "at most 12 images"), (0, "null or an int >= 1"), (True, "null or")]
)
def test_an_impossible_share_of_a_class_is_refused(folder, number, message):
    with pytest.raises(ConfigError, match=rf"data\.source\.per_class must be {message}.*, got {number}"):
        TinyImageNet(str(folder.parent), num_workers=2, per_class=number).load()
