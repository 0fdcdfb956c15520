import os
import pickle
import shutil

import pytest
import torch
from fake.cifar import make_cifar10, make_cifar100
from torchvision import datasets

from alpl.data.augment import channel_statistics
from alpl.data.cifar import CIFAR10, CIFAR100
from alpl.errors import DataError

MAKE = {CIFAR10: make_cifar10, CIFAR100: make_cifar100}


@pytest.fixture(params=[CIFAR10, CIFAR100], ids=lambda source: source.__name__)
def source(request, tmp_path, monkeypatch):
    """A source over fake files whose md5 sums torchvision takes for the published ones."""
    cls = request.param
    sums = MAKE[cls](tmp_path)
    for name in ("train_list", "test_list"):
        patched = [[file, sums[file]] for file, _ in getattr(cls.published, name)]
        monkeypatch.setattr(cls.published, name, patched)
    monkeypatch.setattr(cls.published, "meta", {**cls.published.meta, "md5": sums[cls.published.meta["filename"]]})
    return cls(str(tmp_path))


def _folder(source):
    return source.root / source.published.base_folder


def test_images_and_labels_are_those_of_the_files(source):
    splits = source.load()
    for part, files in (
        (splits.train, source.published.train_list),
        (splits.test, source.published.test_list),
    ):
        batches = [pickle.loads((_folder(source) / name).read_bytes()) for name, _ in files]
        pixels = torch.cat([torch.from_numpy(batch["data"]).view(-1, 3, 32, 32) for batch in batches])
        key = "labels" if "labels" in batches[0] else "fine_labels"
        assert torch.equal(part.images, pixels) and part.images.is_contiguous()
        assert part.targets.tolist() == [label for batch in batches for label in batch[key]]
    assert splits.excluded is None and splits.reserved is None


def test_class_names(source):
    word, number = ("class", 10) if isinstance(source, CIFAR10) else ("fine", 100)
    assert source.load().classes == tuple(f"{word} {i}" for i in range(number))


def test_a_missing_folder_is_named_in_one_line(source):
    shutil.rmtree(_folder(source))
    _fails(source, f"there is no folder {_folder(source)}")


@pytest.mark.parametrize("which", ["train", "test", "meta"])
def test_a_missing_file_is_named(source, which):
    file = _file(source, which)
    file.unlink()
    _fails(source, f"{file} is missing")


@pytest.mark.parametrize("which", ["train", "test", "meta"])
def test_a_truncated_pickle_is_named(source, which):
    file = _file(source, which)
    file.write_bytes(file.read_bytes()[:-9])
    _fails(source, f"{file} is broken")


def test_a_changed_byte_is_found_before_anything_is_unpickled(source, monkeypatch):
    file = _file(source, "train")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    monkeypatch.setattr(pickle, "load", lambda *_, **__: pytest.fail("an unverified pickle was loaded"))
    _fails(source, f"{file} is broken")


def test_load_never_downloads_and_prepare_only_when_asked(source, monkeypatch):
    asked = []
    monkeypatch.setattr(datasets.CIFAR10, "download", lambda self: asked.append(self.root))
    source.load()
    source.prepare()
    type(source)(str(source.root), download=True).load()
    assert asked == []
    type(source)(str(source.root), download=True).prepare()
    assert asked == [source.root]


def test_a_failed_download_is_one_line(source, monkeypatch):
    def offline(self):
        raise OSError("no\nnetwork")

    monkeypatch.setattr(datasets.CIFAR10, "download", offline)
    with pytest.raises(DataError, match=f"{type(source).__name__}: the download into root=.* failed: no network"):
        type(source)(str(source.root), download=True).prepare()


@pytest.mark.skipif("ALPL_CIFAR10_ROOT" not in os.environ, reason="ALPL_CIFAR10_ROOT names no folder with CIFAR-10")
def test_the_real_set_has_the_published_statistics():
    splits = CIFAR10(os.environ["ALPL_CIFAR10_ROOT"]).load()
    assert splits.train.images.shape == (50_000, 3, 32, 32) and splits.test.images.shape == (
        10_000,
        3,
        32,
        32,
    )
    assert splits.train.targets.bincount().tolist() == [5000] * 10
    assert splits.classes[0] == "airplane" and splits.classes[9] == "truck"
    mean, std = channel_statistics(splits.train.images)
    # the numbers that the released code of Bengar et al. (thesis, chapter 4) normalizes with
    torch.testing.assert_close(255 * mean, torch.tensor([125.3, 123.0, 113.9]).double(), atol=0.06, rtol=0)
    torch.testing.assert_close(255 * std, torch.tensor([63.0, 62.1, 66.7]).double(), atol=0.06, rtol=0)


def _file(source, which):
    published = source.published
    name = published.meta["filename"] if which == "meta" else getattr(published, f"{which}_list")[-1][0]
    return _folder(source) / name


def _fails(source, fault):
    with pytest.raises(DataError) as caught:
        source.load()
    name = type(source).__name__
    assert str(caught.value).startswith(f"{name}: {fault}")
    assert str(caught.value).endswith(f"(root={source.root}); data.download=true would fetch it")
    assert "\n" not in str(caught.value)
