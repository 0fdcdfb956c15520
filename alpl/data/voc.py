"""PASCAL VOC, and a user's own folder in its layout."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias, final
from xml.etree.ElementTree import Element

from alpl.boxes.objects import DetectionSplits
from alpl.data.annotation_checks import make_splits
from alpl.data.annotations import MARKS, AbstractAnnotatedFiles, Annotations
from alpl.data.image_files import listed_names
from alpl.data.source import fetch
from alpl.errors import ConfigError, DataError
from alpl.machine.safe_xml import parse_xml

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
YEARS = {"2007": ("2007",), "2012": ("2012",), "0712": ("2007", "2012")}
TEST_YEAR = "2007"  # the only one whose test annotations are public
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

BoxOffset: TypeAlias = Literal["as_written", "as_released"]
"""VOC counts pixels from 1 and names the last one. `as_written`: (xmin - 1, ymin - 1, xmax, ymax), so that x2 and y2
are one past the last pixel and the area is right. `as_released`: 1 is subtracted from all four, as the SSD code that
the papers build on does, so that boxes lack their last row and column."""
SHIFTS: dict[str, tuple[float, float]] = {"as_written": (-1.0, 0.0), "as_released": (-1.0, -1.0)}


class _AbstractVOC(AbstractAnnotatedFiles):
    """Annotations in VOC's XML.

    Args:
        box_offset: what the written corners mean; see :data:`BoxOffset`.
        options: see :class:`alpl.data.annotations.AbstractAnnotatedFiles`.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(self, *, box_offset: BoxOffset = "as_written", **options: Any) -> None:
        super().__init__(**options)
        if box_offset not in SHIFTS:
            raise ConfigError(f"box_offset must be one of {', '.join(SHIFTS)}, got {box_offset!r}")
        self.shift = SHIFTS[box_offset]


@final
class VOC(_AbstractVOC):
    """PASCAL VOC 2007, 2012, or 2007+2012 (16,551 training images), in the published layout.

    Training images come in the order of ``ImageSets/Main/<train>.txt``, those of 2007 before those of 2012. The test
    images are always those of 2007, whose annotations are public. Difficult objects are kept and marked.

    Args:
        root: the folder that holds ``VOCdevkit``.
        year: of the training images.
        train: list of training images.
        test: list of test images of VOC2007.
        download: fetch what is missing (about 0.9 GB for 2007, 2 GB for 2012), with torchvision.
        options: ``box_offset``, see :data:`BoxOffset`; ``bad``, ``verify_images`` and ``cache_bytes``, see
            :class:`alpl.data.annotations.AbstractAnnotatedFiles`.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        root: str,
        year: Literal["2007", "2012", "0712"] = "2007",
        *,
        train: str = "trainval",
        test: str = "test",
        download: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if str(year) not in YEARS:  # a bare 2007 on the command line is a number
            raise ConfigError(f"year must be one of {', '.join(YEARS)}, got {year!r}")
        self.root = Path(root).expanduser()
        self.years = YEARS[str(year)]
        self.train = train
        self.test = test
        self.download = download

    def prepare(self) -> None:
        """Download the years that are missing, if asked to.

        Raises:
            DataError: the download failed.
        """
        wanted = [(year, self.train) for year in self.years] + [(TEST_YEAR, self.test)]
        missing = [(year, part) for year, part in wanted if not self._list(year, part).exists()]
        if not (self.download and missing):
            return
        from torchvision.datasets import VOCDetection

        for year, part in missing:
            which = "test" if (year, part) == (TEST_YEAR, "test") else "trainval"
            fetch("VOC", self.root, partial(VOCDetection, self.root, year=year, image_set=which, download=True))

    def load(self) -> DetectionSplits:
        """Read and check the annotations.

        Raises:
            DataError: files are missing, or annotations are bad and not to be skipped.
        """
        train, test = (Annotations(name, self.shift, self.outside) for name in ("train", "test"))
        for year in self.years:
            VOCLayout(self._folder(year)).read(self._list(year, self.train), train)
        VOCLayout(self._folder(TEST_YEAR)).read(self._list(TEST_YEAR, self.test), test)
        return make_splits("VOC", train, test, CLASSES, self.policy)

    def _folder(self, year: str) -> Path:
        return self.root / "VOCdevkit" / f"VOC{year}"

    def _list(self, year: str, part: str) -> Path:
        return self._folder(year) / "ImageSets" / "Main" / f"{part}.txt"


@final
class VOCFolder(_AbstractVOC):
    """A user's own images with VOC annotations: one XML file an image, lists of names as splits.

    Args:
        root: holds the folders of images and annotations.
        name: what messages call the data set; by default its folder. Unlike the folder it is a part of a run's key.
        train_list: text file of training images, one name a line (without ``.jpg`` or ``.xml``), relative to ``root``.
        test_list: text file of test images.
        classes: names of the classes, in the order of the labels; null for all that are found, sorted.
        images: folder of images, relative to ``root``.
        annotations: folder of XML files, relative to ``root``.
        verify_images: decode every image before training: what people collect has files that broke off.
        options: see :class:`VOC`.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        root: str,
        train_list: str = "ImageSets/Main/trainval.txt",
        test_list: str = "ImageSets/Main/test.txt",
        classes: Sequence[str] | None = None,
        *,
        name: str | None = None,
        verify_images: bool = True,
        images: str = "JPEGImages",
        annotations: str = "Annotations",
        **options: Any,
    ) -> None:
        super().__init__(verify_images=verify_images, **options)
        if classes is not None and (not classes or len(set(classes)) != len(classes)):
            raise ConfigError(f"classes must be different names, at least one, or null, got {list(classes)}")
        self.root = Path(root).expanduser()
        self.name = name or str(self.root)
        self.lists = self.root / train_list, self.root / test_list
        self.classes = None if classes is None else tuple(classes)
        self.folder = VOCLayout(self.root, images, annotations)

    def load(self) -> DetectionSplits:
        """Read and check the annotations.

        Raises:
            DataError: files are missing, or annotations are bad and not to be skipped.
        """
        train, test = (Annotations(name, self.shift, self.outside) for name in ("train", "test"))
        for file, split in zip(self.lists, (train, test), strict=True):
            self.folder.read(file, split)
        found = sorted({*train.classes, *test.classes} - {""})
        if self.classes is None and not found and not (train.image_faults or test.image_faults):
            raise DataError(f"{self.name}: no annotation names an object, so that there are no classes")
        return make_splits(self.name, train, test, self.classes or found, self.policy)


@final
class VOCLayout:
    """Reads images and their XML files of one folder in VOC's layout."""

    def __init__(self, root: Path, images: str = "JPEGImages", annotations: str = "Annotations") -> None:
        self.images = root / images
        self.annotations = root / annotations
        self._listed: dict[Path, dict[str, list[Path]]] = {}

    def read(self, list_file: Path, split: Annotations) -> None:
        """Add the images that ``list_file`` names, in its order.

        Raises:
            DataError: the list cannot be read, or a folder is missing.
        """
        for folder in (self.images, self.annotations):
            if not folder.is_dir():
                raise DataError(f"{folder}: there is no such folder")
        for number, line in enumerate(listed_names(list_file), 1):
            words = line.split()
            if len(words) > 1 and words[-1] in ("1", "-1", "0") and not self._is_there(line.strip()):
                raise DataError(
                    f"{list_file}: line {number} is {line.strip()!r}: lists of one class (1, -1 or 0 behind each name) "
                    "are no lists of images, such as ImageSets/Main/trainval.txt"
                )
            if words:
                self.read_one(self._name(line.strip()), split)

    def _is_there(self, name: str) -> bool:
        try:
            return (self.annotations / f"{name}.xml").exists()
        except (OSError, ValueError):  # longer than a file's name may be, or with a null byte
            return False

    def _name(self, written: str) -> str:
        """Give the name that a line means: some tools write the image's file, or its path."""
        if self._is_there(written):
            return written
        path = PurePosixPath(written.replace("\\", "/"))
        bare = path.parent / path.stem  # unlike with_suffix, of "/" and "." too
        for name in (path.as_posix(), bare.as_posix(), path.name, path.stem):
            if name and self._is_there(name):
                return name
        return written

    def read_one(self, name: str, split: Annotations) -> None:
        """Add the image of a name, which may lie in a folder below, without suffix."""
        file, path = self.annotations / f"{name}.xml", self.images / f"{name}.jpg"
        if refusal := split.refusal(path, self.images) or split.refusal(file, self.annotations):
            split.refuse(split.add_image(path.name, path, file, None), file, refusal)
            return
        paths = self._image_files(name)
        path = paths[0] if paths else path
        try:
            root = parse_xml(file)
        except DataError as error:
            split.fault(split.add_image(path.name, path, file, None), file, str(error))
            return
        row = split.add_image(path.name, path, file, size_of(root))
        if len(paths) > 1:
            split.fault(row, path, f"several images have this name: {', '.join(each.name for each in paths)}")
        for each in root.iter("object"):
            add_object(each, row, split)

    def _image_files(self, name: str) -> list[Path]:
        """Find the image of a name: the folder is listed once, not asked for every suffix."""
        folder, stem = (self.images / name).parent, Path(name).name
        if folder not in self._listed:
            listed = self._listed[folder] = {}
            for file in _files_in(folder):
                if file.suffix.lower() in SUFFIXES:
                    listed.setdefault(file.stem, []).append(file)
        return self._listed[folder].get(stem, [])


def _files_in(folder: Path) -> list[Path]:
    """List a folder; nothing where there is none, or it cannot be listed."""
    try:
        return sorted(folder.iterdir())
    except (OSError, ValueError):
        return []


def size_of(root: Element) -> tuple[int, int] | None:
    """Give height and width as annotated; None where they are absent or 0, as some tools write."""
    try:
        height, width = (int(float(root.findtext(f"size/{side}") or 0)) for side in ("height", "width"))
    except (ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def add_object(each: Element, row: int, split: Annotations, names: Mapping[str, str] | None = None) -> None:
    """Add one object; its parts (heads, hands) have boxes of their own, which are not objects.

    Args:
        each: as it is written.
        row: of its image.
        split: which it is added to.
        names: what its class is called instead of what is written.
    """
    name = (each.findtext("name") or "").strip()
    name = name if names is None else names.get(name, name)
    texts = {key: (each.findtext(f"bndbox/{key}") or "").strip() for key in ("xmin", "ymin", "xmax", "ymax")}
    if each.find("bndbox") is None and (polygon := each.find("polygon")) is not None:
        texts = _around(polygon) or texts
    mark = (each.findtext("difficult") or "0").strip().lower()
    wrong = [f"{key}={text!r}" for key, text in texts.items() if not _is_number(text)]
    wrong += [f"difficult={mark!r}"] if mark not in MARKS else []
    if wrong:
        fault = f"the {name!r} object has no valid {', '.join(wrong)}"
        split.add_box(row, [math.nan] * 4, name, fault=fault)
    else:
        split.add_box(row, [float(text) for text in texts.values()], name, difficult=MARKS[mark])


def _around(polygon: Element) -> dict[str, str] | None:
    """Give the corners of the box around a polygon: ``<x1>``, ``<y1>``, ``<x2>`` and so on; None where it is none."""
    axes = {
        axis: [(point.text or "").strip() for point in polygon if re.fullmatch(rf"{axis}\d+", point.tag)]
        for axis in "xy"
    }
    x, y = axes["x"], axes["y"]
    if not x or len(x) != len(y) or not all(map(_is_number, [*x, *y])):
        return None
    ends = {"xmin": min(x, key=float), "ymin": min(y, key=float), "xmax": max(x, key=float), "ymax": max(y, key=float)}
    return ends


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
