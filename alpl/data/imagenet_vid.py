"""ImageNet-VID (Russakovsky et al. 2015), and what thesis sec. 2.5.3 takes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, final
from xml.etree.ElementTree import Element

from alpl.boxes.objects import DetectionSplits
from alpl.data.annotation_checks import make_splits
from alpl.data.annotations import AbstractAnnotatedFiles, Annotations
from alpl.data.image_files import listed_names
from alpl.data.videos import Reel, check_spacing
from alpl.data.voc import add_object, size_of
from alpl.errors import ConfigError, DataError
from alpl.machine.safe_xml import parse_xml

NUMBERS = (
    "n02691156", "n02419796", "n02131653", "n02834778", "n01503061", "n02924116", "n02958343", "n02402425",
    "n02084071", "n02121808", "n02503517", "n02118333", "n02510455", "n02342885", "n02374451", "n02129165",
    "n01674464", "n02484322", "n03790512", "n02324045", "n02509815", "n02411705", "n01726692", "n02355227",
    "n02129604", "n04468005", "n01662784", "n04530566", "n02062744", "n02391049",
)  # fmt: skip
"""The 30 classes: ``ImageSets/VID/train_<n>.txt`` lists the videos of the n-th, from 1."""
OF_THE_THESIS = {"n02958343": "car", "n02834778": "bicycle", "n03790512": "motorcycle"}

Clean: TypeAlias = Literal["annotated", "none"]
"""Which frames take part. The thesis discards those "that had missing annotations" by hand, 20,000 of 149,000, and did
not publish which. `annotated`: those with an object of any of the 30 classes. `none`: all."""


@final
class ImageNetVid(AbstractAnnotatedFiles):
    """The videos of ImageNet-VID that show some classes; those of the validation set are the test set.

    Layout: ``Data/VID/{train,val}``, ``Annotations/VID/{train,val}`` and ``ImageSets/VID`` as published. A training
    video is one that ``train_<n>.txt`` lists for one of the classes, a test video one with an object of them. Corners
    are written from 0, the last pixel included.

    Args:
        root: the folder of ``Data``, ``Annotations`` and ``ImageSets``.
        classes: identifiers and names, in the order of the labels; None for those of the thesis (car, bicycle,
            motorcycle). Objects of other classes are left out.
        clean: see :data:`Clean`.
        index_file: a list of the training frames instead, as the thesis's code reads one: a frame
            (``ILSVRC2015_VID_train_0000/ILSVRC2015_train_00000000/000000``) and 0 or 1 a line; frames of 0, and those
            that are not listed, take no part. Relative to ``root``.
        spacing: see :class:`alpl.boxes.footage.Footage`; thesis sec. 2.5.2: 3.
        options: see :class:`alpl.data.annotations.AbstractAnnotatedFiles`.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    def __init__(
        self,
        root: str,
        classes: Mapping[str, str] | None = None,
        clean: Clean = "annotated",
        index_file: str | None = None,
        spacing: int = 3,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root = Path(root).expanduser()
        self.classes = dict(OF_THE_THESIS if classes is None else classes)
        if unknown := sorted(set(self.classes) - set(NUMBERS)):
            raise ConfigError(f"data.source.classes must be identifiers of ImageNet-VID, got {', '.join(unknown)}")
        if not self.classes or len(set(self.classes.values())) != len(self.classes):
            raise ConfigError(f"data.source.classes must have different names, at least one, got {self.classes}")
        if clean not in ("annotated", "none"):
            raise ConfigError(f"data.source.clean must be annotated or none, got {clean!r}")
        self.clean, self.index_file = clean, None if index_file is None else self.root / index_file
        self.spacing = check_spacing(spacing)

    def load(self) -> DetectionSplits:
        """Read and check the annotations (about 150,000 files for the thesis's classes: minutes).

        Raises:
            DataError: files are missing, or annotations are bad and not to be skipped.
        """
        train, test = (Annotations(name, (0.0, 1.0), self.outside) for name in ("train", "test"))
        reel = Reel()
        listed = None if self.index_file is None else _flags(self.index_file)
        for video in self._training_videos():
            reel.begin(video)
            for frame in self._frames("train", video):
                objects = self._read(frame, "train", train)
                kept = self._is_kept(objects) if listed is None else listed.get(f"{video}/{frame.stem}", False)
                reel.add(_number(frame), cleaned=not kept)
        for video in self._test_videos():
            self._read_test(video, test)
        splits = make_splits("ImageNet-VID", train, test, tuple(self.classes.values()), self.policy)
        return reel.wound(splits, self.spacing)

    def _training_videos(self) -> list[str]:
        found = set()
        for identifier in self.classes:
            file = self.root / "ImageSets" / "VID" / f"train_{NUMBERS.index(identifier) + 1}.txt"
            for number, line in enumerate(listed_names(file), 1):
                words = line.split()
                if len(words) not in (0, 2):
                    raise DataError(f"{file}: line {number} must be a video and a label, got {line.strip()[:100]!r}")
                if words and words[1] == "1":
                    found.add(words[0])
        return sorted(found)

    def _test_videos(self) -> list[str]:
        frames = listed_names(self.root / "ImageSets" / "VID" / "val.txt")
        return sorted({line.split()[0].rpartition("/")[0] for line in frames if line.strip()})

    def _frames(self, split: str, video: str) -> list[Path]:
        folder = self.root / "Data" / "VID" / split / video
        frames = sorted(folder.glob("*.JPEG"))
        if not frames:
            raise DataError(f"{folder}: there is no such folder, or no frame (NNNNNN.JPEG) in it")
        return frames

    def _annotation(self, frame: Path) -> Path:
        below = frame.relative_to(self.root / "Data").with_suffix(".xml")
        return self.root / "Annotations" / below

    def _read(self, frame: Path, split: str, into: Annotations) -> list[str]:
        """Add a frame; give the identifiers of all its objects."""
        file = self._annotation(frame)
        name = frame.relative_to(self.root / "Data" / "VID" / split).as_posix()
        try:
            root = parse_xml(file)
        except DataError as error:
            into.fault(into.add_image(name, frame, file, None), file, str(error))
            return []
        row = into.add_image(name, frame, file, size_of(root))
        for each in self._objects(root):
            add_object(each, row, into, self.classes)
        return [(each.findtext("name") or "").strip() for each in root.iter("object")]

    def _objects(self, root: Element) -> Iterator[Element]:
        """Those of the classes, or of none that there is: the checks name these."""
        for each in root.iter("object"):
            name = (each.findtext("name") or "").strip()
            if name in self.classes or name not in NUMBERS:
                yield each

    def _read_test(self, video: str, test: Annotations) -> None:
        """Add the frames of a test video that shows one of the classes, and that are not cleaned away."""
        frames = self._frames("val", video)
        seen = [self._identifiers(frame) for frame in frames]
        if not any(self.classes.keys() & set(each) for each in seen if each is not None):
            return
        for frame, identifiers in zip(frames, seen, strict=True):
            if identifiers is None or self._is_kept(identifiers):
                self._read(frame, "val", test)

    def _identifiers(self, frame: Path) -> list[str] | None:
        """Those of a frame's objects; None where the annotation cannot be read, which the checks tell."""
        try:
            return [(each.findtext("name") or "").strip() for each in parse_xml(self._annotation(frame)).iter("object")]
        except DataError:
            return None

    def _is_kept(self, identifiers: list[str]) -> bool:
        return self.clean == "none" or bool(identifiers)


def _number(frame: Path) -> int:
    if not frame.stem.isdecimal():
        raise DataError(f"{frame}: the name of a frame must be its number")
    return int(frame.stem)


def _flags(file: Path) -> dict[str, bool]:
    """Read which frames take part."""
    flags = {}
    for number, line in enumerate(listed_names(file), 1):
        words = line.split()
        if len(words) not in (0, 2) or (words and words[1] not in ("0", "1")):
            raise DataError(f"{file}: line {number} must be a frame and 0 or 1, got {line.strip()[:100]!r}")
        if words:
            flags[words[0].removesuffix(".JPEG")] = words[1] == "1"
    return flags
