import re

import numpy as np
import pytest
import torch
from fake.fashion_mnist import make_fashion_mnist, write_idx
from torchvision import datasets

from alpl.data.fashion_mnist import FashionMNIST
from alpl.errors import DataError

FILES = [f"{split}-{kind}-ubyte" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]


@pytest.fixture
def folder(tmp_path):
    return make_fashion_mnist(tmp_path)


def test_it_reads_what_torchvision_reads(folder, tmp_path):
    splits = FashionMNIST(str(tmp_path)).load()
    for part, is_train in ((splits.train, True), (splits.test, False)):
        theirs = datasets.FashionMNIST(str(tmp_path), train=is_train)
        assert torch.equal(part.images[:, 0], theirs.data) and torch.equal(part.targets, theirs.targets)
    assert splits.train.images.shape == (40, 1, 28, 28) and len(splits.test) == 20
    assert splits.classes[9] == "Ankle boot" and len(splits.classes) == 10


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, tmp_path, name):
    (folder / name).unlink()
    _fails(tmp_path, f"{folder / name} is missing (root={tmp_path}); data.download=true would fetch it")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [lambda d: d[:-3], lambda d: b"", lambda d: d[:5], lambda d: b"PK\3\4" + d])
def test_a_broken_file_is_named(folder, tmp_path, name, damage):
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    _fails(tmp_path, f"{folder / name} is broken")


@pytest.mark.parametrize(
    ("name", "array", "fault"),
    [
        (FILES[0], np.zeros((40, 28, 27), np.uint8), "must hold [N 28 28] pixels, got [40, 28, 27]"),
        (FILES[2], np.zeros((19, 28, 28), np.uint8), "holds 19 images but"),
        (FILES[1], np.full(40, 10, np.uint8), "must hold labels 0 to 9, got 10"),
        (FILES[1], np.zeros((40, 1, 1), np.uint8), "is broken"),
    ],
)
def test_files_that_do_not_fit_are_named(folder, tmp_path, name, array, fault):
    write_idx(folder / name, array)
    _fails(tmp_path, f"{folder / name} {fault}")


def test_prepare_downloads_only_when_asked(tmp_path, monkeypatch):
    def offline(self):
        raise RuntimeError("Error downloading\nx.gz")

    monkeypatch.setattr(datasets.MNIST, "download", offline)
    FashionMNIST(str(tmp_path)).prepare()
    with pytest.raises(DataError, match=r"the download into root=.* failed: Error downloading x\.gz"):
        FashionMNIST(str(tmp_path), download=True).prepare()


def _fails(root, fault):
    with pytest.raises(DataError, match=f"^FashionMNIST: {re.escape(fault)}") as caught:
        FashionMNIST(str(root)).load()
    assert "\n" not in str(caught.value)
