"""KITTI's 2D object detection (Geiger et al. 2012), and a user's own folder in its layout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

from alpl.boxes.kitti_levels import level_of
from alpl.boxes.objects import DetectionSplits
from alpl.data.annotation_checks import make_splits
from alpl.data.annotations import AbstractAnnotatedFiles, Annotations
from alpl.data.image_files import listed_names
from alpl.data.source import fetch
from alpl.errors import ConfigError, DataError
from alpl.machine.safe_xml import check_regular

TYPES = ("Car", "Pedestrian", "Cyclist", "Van", "Truck", "Person_sitting", "Tram", "Misc")
REGION = "DontCare"
NEIGHBORS = {"Van": "Car", "Person_sitting": "Pedestrian"}
"""Types that look like a class without being of it: its difficult objects, where they are no class themselves."""
NUM_COLUMNS = 15
PUBLISHED, TORCHVISION = Path("training"), Path("Kitti") / "raw" / "training"

Classes: TypeAlias = Literal["evaluated", "all"]
"""`evaluated`: those that the benchmark asks for (Car, Pedestrian, Cyclist). `all`: all eight types but DontCare."""
CLASSES: dict[str, tuple[str, ...]] = {"evaluated": TYPES[:3], "all": TYPES}


@final
class KITTI(AbstractAnnotatedFiles):
    """KITTI in the published layout: ``training/image_2``, ``training/label_2`` and two lists of images.

    Boxes are kept as they are written, in pixels from 0, since the benchmark takes right minus left for the width.
    Types that are no class are left out, but for two: a Van is a difficult Car and a Person_sitting a difficult
    Pedestrian, unless they are classes themselves. DontCare is a region to be ignored
    (:data:`alpl.boxes.objects.NO_CLASS`). Each object has its level (:mod:`alpl.boxes.kitti_levels`).

    Args:
        root: the folder that holds ``training``; what torchvision downloads (``Kitti/raw/training``) is found, too.
        train_list: text file of training images, one name a line (``000003``), relative to ``root``. The split of 3,712
            and 3,769 images, which most works use, is no part of KITTI's download.
        test_list: text file of test images.
        classes: see :data:`Classes`, or the names of one's own, in the order of the labels.
        suffix: of the image files.
        download: fetch images and labels that are missing (12 GB), with torchvision; not the lists.
        options: see :class:`alpl.data.annotations.AbstractAnnotatedFiles`.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        root: str,
        train_list: str = "ImageSets/train.txt",
        test_list: str = "ImageSets/val.txt",
        classes: Classes | Sequence[str] = "evaluated",
        *,
        suffix: str = ".png",
        download: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root = Path(root).expanduser()
        self.lists = self.root / train_list, self.root / test_list
        self.classes = _classes(classes)
        self.suffix = suffix
        self.download = download

    def prepare(self) -> None:
        """Download images and labels where they are missing, if asked to.

        Raises:
            DataError: the download failed.
        """
        if self.download and not self._folder().is_dir():
            from torchvision.datasets import Kitti

            fetch("KITTI", self.root, partial(Kitti, str(self.root), train=True, download=True))

    def load(self) -> DetectionSplits:
        """Read and check the annotations.

        Raises:
            DataError: files are missing, or annotations are bad and not to be skipped.
        """
        train, test = (Annotations(name, outside=self.outside) for name in ("train", "test"))
        for list_file, split in zip(self.lists, (train, test), strict=True):
            self._read(list_file, split)
        return make_splits("KITTI", train, test, self.classes, self.policy)

    def _folder(self) -> Path:
        found = self.root / TORCHVISION
        return found if found.is_dir() else self.root / PUBLISHED

    def _read(self, list_file: Path, split: Annotations) -> None:
        """Add the images of a list, in its order."""
        images, labels = (self._folder() / name for name in ("image_2", "label_2"))
        for folder in (images, labels):
            if not folder.is_dir():
                raise DataError(f"{folder}: there is no such folder")
        for name in filter(None, map(str.strip, listed_names(list_file))):
            path, file = images / f"{name}{self.suffix}", labels / f"{name}.txt"
            row = split.add_image(path.name, path, file, None)
            if refusal := split.refusal(path, images) or split.refusal(file, labels):
                split.refuse(row, file, refusal)
                continue
            try:
                lines = _lines(file)
            except DataError as error:
                split.fault(row, file, str(error))
                continue
            for number, line in enumerate(lines, 1):
                if line.strip():
                    self._add(line.split(), f"line {number}", row, split)

    def _add(self, columns: list[str], where: str, row: int, split: Annotations) -> None:
        """Add what one line says: an object, a region, or nothing."""
        name = columns[0]
        class_ = name if name in self.classes else NEIGHBORS.get(name, name)
        is_left_out = class_ not in self.classes and name in TYPES
        try:
            truncated, occluded, _, *box = (float(column) for column in columns[1:8])
            is_number = len(columns) == NUM_COLUMNS and all(map(math.isfinite, (truncated, occluded, *box)))
        except ValueError:
            is_number = False
        if not is_number:
            what = f"{where} must be a type and {NUM_COLUMNS - 1} numbers, got {' '.join(columns)[:100]!r}"
            split.add_box(row, [math.nan] * 4, name, fault=what)
        elif name == REGION:
            split.add_region(row, box, name)
        elif not (occluded in (0, 1, 2, 3) and 0 <= truncated <= 1):
            what = f"{where} must have a truncation in [0, 1] and an occlusion of 0 to 3, got {columns[1]} {columns[2]}"
            split.add_box(row, box, name, fault=what)
        elif not is_left_out:
            level = level_of(box[3] - box[1], int(occluded), truncated)
            split.add_box(row, box, class_, difficult=class_ != name, level=level)


def _classes(given: Classes | Sequence[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        if given not in CLASSES:
            raise ConfigError(f"classes must be one of {', '.join(CLASSES)}, or names, got {given!r}")
        return CLASSES[given]
    names = tuple(given)
    if not names or len(set(names)) != len(names) or REGION in names:
        raise ConfigError(f"classes must be different names, at least one and not {REGION}, got {list(names)}")
    return names


def _lines(file: Path) -> list[str]:
    """Read the lines of labels; the message of an error does not name the file."""
    try:
        check_regular(file)
        return file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise DataError("there is no such annotation") from error
    except (OSError, ValueError) as error:  # the latter: wrong encodings, and names that no file can have
        raise DataError(f"cannot be read: {error}") from error
