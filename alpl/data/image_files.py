"""Images that are files: decoded when they are asked for, and kept within a budget of memory.

Axes: N images.
"""

from __future__ import annotations

import math
import multiprocessing
import struct
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, final

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from alpl.boxes.objects import AbstractDetectionImages
from alpl.errors import ConfigError, DataError
from alpl.machine.files import sha256_of
from alpl.machine.safe_xml import check_regular
from alpl.machine.shared_memory import SHARED_MEMORY, free_shared_memory

_NUM_THREADS, _CHUNK = 8, 64  # files; one by one, handing them to threads would take longer than asking
T = TypeVar("T")
_FAULTS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises on broken files
_ABSENT, _CLAIMED = -1, -2
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # EXIF's orientations, less 1, which leaves the image as it is
_SIDEWAYS = (5, 6, 7, 8)


@final
class ImageFiles(AbstractDetectionImages):
    """N image files of any format that Pillow reads, as RGB, turned as EXIF says: as who drew the boxes saw them.

    The cache holds decoded images, uint8, in memory that all worker processes of this process share. Who comes first
    stays: once the budget is full, further images are decoded anew each time, and nothing is thrown out. The memory is
    taken page by page as the cache fills. Under DDP every process has a cache of its own.

    Args:
        names: N names that a person recognizes.
        paths: N files.
        sizes: ``Long[N 2]`` height and width; zeros where they are not known, because the file is broken.
        cache_bytes: budget of the cache; 0 for none.
        refused: positions of files that must not be opened, whatever is asked about all.

    Raises:
        ConfigError: the cache is negative, or would take more than half of the free shared memory.
        ValueError: the three arguments differ in length.
    """

    def __init__(
        self,
        names: Sequence[str],
        paths: Sequence[str | Path],
        sizes: Tensor,
        cache_bytes: int = 0,
        refused: Sequence[int] = (),
    ) -> None:
        if not len(names) == len(paths) == len(sizes):
            raise ValueError(f"names, paths and sizes must be as many, got {len(names)}, {len(paths)} and {len(sizes)}")
        if cache_bytes < 0:
            raise ConfigError(f"cache_bytes must be >= 0, got {cache_bytes}")
        self.names = tuple(names)
        self.paths = tuple(str(path) for path in paths)
        self.sizes = sizes
        self._refused = frozenset(self.paths[index] for index in refused)
        self._cache = _SharedCache(sizes, cache_bytes) if cache_bytes else None

    def __getitem__(self, index: int) -> Tensor:
        if self._cache is not None and (cached := self._cache.get(index)) is not None:
            return cached
        image = self._decode(index)
        if self._cache is not None:
            self._cache.offer(index, image)
        return image

    def stamps(self) -> Tensor:
        """``Long[N 2]``: see :func:`stamp`."""
        return torch.tensor(of_files(stamp, self.paths), dtype=torch.long).reshape(-1, 2)

    def contents(self) -> list[str]:
        """Give the SHA-256 of each file; empty where it cannot, or must not, be read."""
        return of_files(lambda path: "" if path in self._refused else content_of(path), self.paths)

    @property
    def cached_bytes(self) -> int:
        """Bytes of decoded images in the cache, those that are just being written included."""
        return 0 if self._cache is None else self._cache.used_bytes

    def _decode(self, index: int) -> Tensor:
        path = self.paths[index]
        image = decode_image(path)
        size, expected = list(image.shape[1:]), self.sizes[index].tolist()
        if size != expected:
            raise DataError(f"{path}: is {_by(size)} pixels, not {_by(expected)} as when the data set was read")
        return image


def of_files(about: Callable[[str], T], paths: Sequence[str]) -> list[T]:
    """Ask something about each file, several at a time: it is mostly waiting for the disk."""
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    with ThreadPoolExecutor(_NUM_THREADS) as threads:
        answers = threads.map(lambda chunk: [about(path) for path in chunk], chunks)
        return [answer for chunk in answers for answer in chunk]


def listed_names(list_file: Path) -> list[str]:
    """Read a list of images: its lines as they are, of whatever editor.

    Raises:
        DataError: it cannot be read.
    """
    try:
        check_regular(list_file)
        return list_file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{list_file}: the list of images cannot be read: {error}") from error


def content_of(path: str | Path) -> str:
    """Give the SHA-256 of a file; empty where it cannot be read."""
    try:
        check_regular(path)
        return sha256_of(Path(path))
    except (OSError, ValueError):  # the latter: no file can have such a name
        return ""


def stamp(path: str | Path) -> tuple[int, int]:
    """Give the bytes of a file, and when it was last changed, in nanoseconds; -1 where there is none."""
    try:
        about = Path(path).stat()
    except (OSError, ValueError):
        return -1, -1
    return about.st_size, about.st_mtime_ns


def decode_image(path: str | Path) -> Tensor:
    """Decode a file to ``UInt8[3 H W]``, RGB; gray is repeated, transparency dropped, EXIF's turn made.

    Raises:
        DataError: there is no such file, or it cannot be decoded; names it.
    """
    try:
        with _opened(path) as image:
            pixels = np.array(_turned(image if image.mode == "RGB" else image.convert("RGB"), _turn_of(image)))
    except _FAULTS as error:
        raise DataError(f"{path}: {_reason(error)}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def read_size(path: str | Path, *, decode: bool, max_megapixels: float = math.inf) -> tuple[int, int] | str:
    """Give height and width from a file's header, EXIF's turn made, or what is wrong with the file.

    Args:
        path: the file.
        decode: decode the whole image too, which finds files that broke off.
        max_megapixels: larger ones are not decoded: a file of a few kilobytes may take gigabytes.
    """
    try:
        with _opened(path) as image:
            megapixels = image.height * image.width / 1e6
            if megapixels > max_megapixels:
                return f"has {megapixels:.0f} megapixels, more than data.source.max_megapixels={max_megapixels:g}"
            if decode:
                image.convert("RGB")
            return (image.width, image.height) if _turn_of(image) in _SIDEWAYS else (image.height, image.width)
    except _FAULTS as error:
        return _reason(error)


def is_sideways(path: str | Path) -> bool:
    """Whether EXIF turns an image by a quarter, so that height and width change places; not of a broken file."""
    try:
        with _opened(path) as image:
            return _turn_of(image) in _SIDEWAYS
    except _FAULTS:
        return False


def _opened(path: str | Path) -> Image.Image:
    check_regular(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # max_megapixels says how large one may be
        return Image.open(path)


def _turn_of(image: Image.Image) -> int:
    """Give EXIF's orientation, 1 where there is none that can be read."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (*_FAULTS, TypeError, struct.error):
        return 1


def _turned(image: Image.Image, turn: int) -> Image.Image:
    return image.transpose(_TURNS[turn]) if turn in _TURNS else image


@final
class _SharedCache:
    """Decoded images behind each other in one shared block; filled first come, first served."""

    def __init__(self, sizes: Tensor, num_bytes: int) -> None:
        self._shapes = [(3, height, width) for height, width in sizes.tolist()]
        wanted = min(num_bytes, int(3 * sizes.prod(1).sum()))
        free = free_shared_memory()
        if free is not None and wanted > free // 2:  # writing beyond it would kill a worker without a word
            raise ConfigError(
                f"cache_bytes must be <= {free // 2}, half of what is free in {SHARED_MEMORY}, got {num_bytes}"
            )
        self._bytes = _shared(wanted, torch.uint8)
        self._start = _shared(len(sizes), torch.long).fill_(_ABSENT)
        self._used = _shared(1, torch.long)
        # a lock of the spawn context serves forked workers too; the other way round it would not
        self._lock = multiprocessing.get_context("spawn").Lock()

    @property
    def used_bytes(self) -> int:
        return int(self._used)

    def get(self, index: int) -> Tensor | None:
        """Give a copy (who changes it in place does not change the cache), or None."""
        with self._lock:  # a lock also orders the memory: who sees the start sees the bytes
            start = int(self._start[index])
        if start < 0:
            return None
        shape = self._shapes[index]
        return self._bytes[start : start + shape[0] * shape[1] * shape[2]].view(shape).clone()

    def offer(self, index: int, image: Tensor) -> None:
        """Keep a copy if there is room and nobody else keeps or writes it."""
        with self._lock:
            start = int(self._used)
            if int(self._start[index]) != _ABSENT or start + image.numel() > len(self._bytes):
                return
            self._start[index] = _CLAIMED
            self._used += image.numel()
        self._bytes[start : start + image.numel()] = image.flatten()
        with self._lock:
            self._start[index] = start


def _shared(length: int, dtype: torch.dtype) -> Tensor:
    """Zeros in shared memory; the pages are taken when they are first written."""
    # share_memory_() of a fresh tensor would write, and so take, every page; torch's collate uses this call, too
    storage = torch.UntypedStorage._new_shared(max(1, length) * dtype.itemsize)
    return torch.empty(0, dtype=dtype).set_(storage, 0, (length,), (1,))


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such image"
    if isinstance(error, UnidentifiedImageError):
        return "is not an image"
    return f"cannot be decoded: {' '.join(str(error).split())}"


def _by(size: Sequence[int]) -> str:
    return f"{size[1]} x {size[0]}"
