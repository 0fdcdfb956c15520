import os
from collections import namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from alpl.data.image_files import ImageFiles, decode_image, read_size
from alpl.errors import ConfigError, DataError
from alpl.machine import shared_memory

SIZES = [(4, 5), (6, 3), (2, 2), (5, 5)]
COUNTS = [3 * height * width for height, width in SIZES]  # 60, 54, 12, 75 bytes


@pytest.fixture(scope="module")
def pixels():
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


@pytest.fixture
def files(tmp_path, pixels):
    return _save(tmp_path, pixels)


@pytest.fixture(scope="module")
def lasting_files(tmp_path_factory, pixels):
    return _save(tmp_path_factory.mktemp("images"), pixels)


def _save(folder, pixels):
    paths = [folder / f"{k}.png" for k in range(len(pixels))]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    return paths


def _open(files, cache_bytes=0):
    return ImageFiles([path.name for path in files], files, torch.tensor(SIZES), cache_bytes)


def _expected(pixels, k):
    return torch.from_numpy(pixels[k]).permute(2, 0, 1)


@pytest.mark.parametrize("cache_bytes", [0, 70, 10_000])
def test_images_are_those_of_the_files_with_and_without_cache(files, pixels, cache_bytes):
    images = _open(files, cache_bytes)
    for k in (2, 0, 1, 3, 2, 0, 1, 3):
        assert torch.equal(images[k], _expected(pixels, k)) and images[k].is_contiguous()
    assert torch.equal(images[-1], _expected(pixels, 3)) and len(images) == 4
    with pytest.raises(IndexError):
        images[4]


@given(st.lists(st.integers(0, 3), max_size=10), st.integers(0, 220))
def test_who_comes_first_stays_within_the_budget(lasting_files, pixels, order, budget):
    images, kept = _open(lasting_files, budget), []
    room = min(budget, sum(COUNTS))
    for k in order:
        assert torch.equal(images[k], _expected(pixels, k))
        if k not in kept and sum(COUNTS[j] for j in kept) + COUNTS[k] <= room:
            kept.append(k)
        assert images.cached_bytes == sum(COUNTS[j] for j in kept) <= budget


def test_a_cached_image_is_not_read_again_and_cannot_be_changed(files, pixels):
    images = _open(files, COUNTS[0] + COUNTS[1])
    images[0].zero_()
    images[1], images[2]
    for path in files:
        path.unlink()
    images[0].zero_()
    assert torch.equal(images[0], _expected(pixels, 0)) and torch.equal(images[1], _expected(pixels, 1))
    with pytest.raises(DataError, match=r"2.png: there is no such image"):
        images[2]


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_processes_share_one_cache(files, pixels, start):
    images = _open(files, sum(COUNTS))
    loader = torch.utils.data.DataLoader(images, None, num_workers=2, multiprocessing_context=start)
    for k, image in enumerate(loader):
        assert torch.equal(image, _expected(pixels, k))
    assert images.cached_bytes == sum(COUNTS)
    for path in files:
        path.unlink()
    for k in range(4):  # what the workers decoded, this process reads
        assert torch.equal(images[k], _expected(pixels, k))


def test_workers_that_want_the_same_image_keep_it_once(files):
    images = _open(files, sum(COUNTS))
    decoded = images[0]
    images._cache.offer(0, decoded)  # as a second worker does that began to decode before the first had ended
    assert images.cached_bytes == COUNTS[0]
    loader = torch.utils.data.DataLoader(images, None, sampler=[0, 1, 1] * 20, num_workers=2)
    assert len(list(loader)) == 60 and images.cached_bytes == COUNTS[0] + COUNTS[1]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_every_mode_becomes_rgb(tmp_path, pixels, mode):
    path = tmp_path / "image.tif"
    Image.fromarray(pixels[0]).convert(mode).save(path)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB"))
    found = decode_image(path)
    assert found.dtype == torch.uint8 and torch.equal(found, torch.from_numpy(expected.copy()).permute(2, 0, 1))


def test_exif_orientation_is_applied(tmp_path, pixels):
    path, exif = tmp_path / "turned.png", Image.Exif()
    for turn, moved in ((1, lambda image: image), (3, lambda image: image[::-1, ::-1]), (6, lambda i: np.rot90(i, -1))):
        exif[274] = turn
        Image.fromarray(pixels[0]).save(path, exif=exif)
        expected = torch.from_numpy(moved(pixels[0]).copy()).permute(2, 0, 1)
        assert torch.equal(decode_image(path), expected)
        assert read_size(path, decode=False) == read_size(path, decode=True) == tuple(expected.shape[1:])


def test_broken_files_are_named(tmp_path, files):
    files[0].unlink()
    files[1].write_text("no image")
    whole = files[3].read_bytes()
    files[3].write_bytes(whole[:-40])
    images = _open(files, 1000)
    for k, what in ((0, "there is no such image"), (1, "is not an image"), (3, "cannot be decoded: ")):
        with pytest.raises(DataError, match=f"^{files[k]}: {what}"):
            images[k]
    assert images.cached_bytes == 0
    assert read_size(files[0], decode=False) == "there is no such image"
    assert read_size(files[1], decode=False) == "is not an image"
    assert read_size(files[3], decode=False) == SIZES[3]
    assert str(read_size(files[3], decode=True)).startswith("cannot be decoded: ")


def test_a_bomb_is_not_decoded(files, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with pytest.raises(DataError, match=r"0.png: cannot be decoded: .*exceeds limit"):
        decode_image(files[0])


def test_a_file_that_changed_its_size_is_named(files):
    images = _open(files, 1000)
    Image.new("RGB", (7, 9)).save(files[0])
    with pytest.raises(DataError, match=r"0.png: is 7 x 9 pixels, not 5 x 4 as when the data set was read"):
        images[0]


def test_wrong_arguments(files):
    with pytest.raises(ConfigError, match="cache_bytes must be >= 0, got -1"):
        _open(files, -1)
    with pytest.raises(ValueError, match="names, paths and sizes must be as many, got 1, 4 and 4"):
        ImageFiles(["one"], files, torch.tensor(SIZES))


def test_a_cache_that_does_not_fit_the_shared_memory_is_an_error(files, tmp_path, monkeypatch):
    monkeypatch.setattr(shared_memory, "SHARED_MEMORY", tmp_path)
    free = namedtuple("Free", "f_bavail f_frsize")
    monkeypatch.setattr(os, "statvfs", lambda path: free(200, 2))
    with pytest.raises(ConfigError, match=r"cache_bytes must be <= 200, half of what is free in .*, got 201"):
        _open(files, 201)
    _open(files, 200)
