"""Tiny ImageNet (Stanford CS231n): 200 classes, 100,000 train and 10,000 val images of 64 x 64 pixels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from alpl.data.sets import ImageSet, Splits
from alpl.data.source import AbstractSource
from alpl.errors import ConfigError, DataError

FOLDER = "tiny-imagenet-200"
SIDE = 64
NUM_NAMED = 10  # broken files that an error names one by one


class _Entry(NamedTuple):
    """One image: sorting by (target, natural key of the name) gives the dataset order."""

    target: int
    key: tuple[tuple[int, str], ...]
    path: Path


@final
class TinyImageNet(AbstractSource):
    """The published folder layout; ``val`` serves as the test set, because the real one has no public labels.

    The order is that of ``wnids.txt``, then of the file names with numbers by value (``_9`` before ``_10``).
    Gray images are repeated over the three channels. All images are decoded once, into about 1.4 GB.

    Args:
        root: the folder that holds ``tiny-imagenet-200``. It is not fetched: the archive
            (http://cs231n.stanford.edu/tiny-imagenet-200.zip) has to be unpacked there by hand.
        num_workers: threads that decode; Pillow decodes without holding the interpreter.
        per_class: training images of each class that take part, the first ones; None for all 500. With 450 they are the
            "90K" of thesis sec. 4.5.1, a tenth of each class set aside, which is no more than a reading.

    Raises:
        ConfigError: ``num_workers`` or ``per_class`` is below 1.
    """

    def __init__(self, root: str, num_workers: int = 8, per_class: int | None = None) -> None:
        if num_workers < 1:
            raise ConfigError(f"num_workers must be >= 1, got {num_workers}")
        self.folder = Path(root).expanduser() / FOLDER
        if per_class is not None and (isinstance(per_class, bool) or not isinstance(per_class, int) or per_class < 1):
            raise ConfigError(f"data.source.per_class must be null or an int >= 1, got {per_class!r}")
        self.num_workers = num_workers
        self.per_class = per_class

    def load(self) -> Splits:
        """Read, decode and check every image.

        Raises:
            DataError: the folder or a list is missing, a class is unknown or incomplete, or images cannot be
                decoded or are not 64 x 64; such images are counted, and the first ten named.
            ConfigError: a class has fewer than ``per_class`` images.
        """
        if not self.folder.is_dir():
            raise DataError(
                f"TinyImageNet: there is no folder {self.folder}; it is not downloaded: unpack {FOLDER}.zip "
                f"so that {self.folder / 'wnids.txt'} exists"
            )
        wnids = [line.strip() for line in self._lines("wnids.txt") if line.strip()]
        train, test = self._train_entries(wnids), self._test_entries(wnids)
        excluded = self._excluded([entry.target for entry in train])
        images = self._decode([entry.path for entry in [*train, *test]])
        return Splits(
            ImageSet(images[: len(train)], torch.tensor([entry.target for entry in train])),
            ImageSet(images[len(train) :], torch.tensor([entry.target for entry in test])),
            self._class_names(wnids),
            excluded,
        )

    def _excluded(self, targets: Sequence[int]) -> torch.Tensor | None:
        """Give the indices that take no part; all classes have as many images, one class after the other."""
        if self.per_class is None:
            return None
        number = targets.count(0)
        if self.per_class > number:
            raise ConfigError(f"data.source.per_class must be at most {number} images, got {self.per_class}")
        place = torch.arange(len(targets))
        return place[place % number >= self.per_class]

    def _lines(self, name: str) -> list[str]:
        try:
            return (self.folder / name).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"TinyImageNet: {self.folder / name} cannot be read: {error}") from error

    def _class_names(self, wnids: Sequence[str]) -> tuple[str, ...]:
        names = dict(line.split("\t", 1) for line in self._lines("words.txt") if "\t" in line)
        if unnamed := [wnid for wnid in wnids if wnid not in names]:
            raise DataError(f"TinyImageNet: {self.folder / 'words.txt'} does not name {_some(unnamed)}")
        return tuple(names[wnid].strip() for wnid in wnids)

    def _train_entries(self, wnids: Sequence[str]) -> list[_Entry]:
        entries = []
        for target, wnid in enumerate(wnids):
            images = self.folder / "train" / wnid / "images"
            entries += [_Entry(target, _natural_key(path.name), path) for path in images.glob("*.JPEG")]
        return self._complete(sorted(entries), wnids, "train")

    def _test_entries(self, wnids: Sequence[str]) -> list[_Entry]:
        annotations, images = self.folder / "val" / "val_annotations.txt", self.folder / "val" / "images"
        rows = [line.split("\t") for line in self._lines("val/val_annotations.txt") if line.strip()]
        target_of = {wnid: target for target, wnid in enumerate(wnids)}
        if wrong := [row[0] for row in rows if len(row) < 2 or row[1] not in target_of]:
            raise DataError(f"TinyImageNet: {annotations} gives no known wnid for {_some(wrong)}")
        wnid_of = {row[0]: row[1] for row in rows}
        present = {path.name for path in images.glob("*.JPEG")}
        if without := sorted(present - wnid_of.keys(), key=_natural_key):
            raise DataError(f"TinyImageNet: {annotations} has no line for {_some(without)}")
        if absent := sorted(wnid_of.keys() - present, key=_natural_key):
            raise DataError(f"TinyImageNet: {images} lacks {_some(absent)}")
        entries = [_Entry(target_of[wnid_of[name]], _natural_key(name), images / name) for name in wnid_of]
        return self._complete(sorted(entries), wnids, "val")

    def _complete(self, entries: list[_Entry], wnids: Sequence[str], split: str) -> list[_Entry]:
        """Check that all classes have as many images: a copy that broke off would shift the indices."""
        counts = np.bincount([entry.target for entry in entries], minlength=len(wnids))
        most = int(counts.max(initial=0))
        if most == 0:
            raise DataError(f"TinyImageNet: {self.folder / split} holds no image of a class in wnids.txt")
        if short := [f"{wnid} ({count})" for wnid, count in zip(wnids, counts, strict=True) if count < most]:
            expected = f"{self.folder / split} must hold {most} images of every class"
            raise DataError(f"TinyImageNet: {expected}, got fewer of {_some(short)}")
        return entries

    def _decode(self, paths: Sequence[Path]) -> torch.Tensor:
        """``UInt8[N 3 64 64]``; the threads write into one array, so that nothing is held twice."""
        images = torch.empty(len(paths), 3, SIDE, SIDE, dtype=torch.uint8)
        with ThreadPoolExecutor(self.num_workers) as workers:
            faults = list(workers.map(_decode_into, images.numpy(), paths))
        if broken := [f"{path} ({fault})" for path, fault in zip(paths, faults, strict=True) if fault]:
            raise DataError(f"TinyImageNet: broken images: {_some(broken)}")
        return images


def _decode_into(slot: np.ndarray, path: Path) -> str | None:
    """Decode one image into ``slot`` (``UInt8[3 64 64]``); give what is wrong with it."""
    try:
        with Image.open(path) as image:
            if image.size != (SIDE, SIDE):
                return f"{image.size[0]} x {image.size[1]} pixels, not {SIDE} x {SIDE}"
            slot[:] = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    except UnidentifiedImageError:
        return "not an image"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow's kinds
        return str(error)
    return None


def _natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Digits by value, the rest as text: ``val_9.JPEG`` before ``val_10.JPEG``."""
    parts = re.split(r"([0-9]+)", name)  # odd positions hold the numbers
    return tuple((int(part), "") if place % 2 else (-1, part) for place, part in enumerate(parts))


def _some(names: Sequence[str]) -> str:
    """List names, the first ten in full: ``12: a, b, ... and 2 more``."""
    rest = f" and {len(names) - NUM_NAMED} more" if len(names) > NUM_NAMED else ""
    return f"{len(names)}: {', '.join(names[:NUM_NAMED])}{rest}"
