"""MS-COCO, and a user's own images with annotations in its format. The JSON is read without pycocotools."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, final, get_args

from alpl.boxes.objects import DetectionSplits
from alpl.data.annotation_checks import make_splits
from alpl.data.annotations import MARKS, AbstractAnnotatedFiles, Annotations, Bad, Problem
from alpl.errors import ConfigError, DataError
from alpl.machine.safe_xml import check_regular

TEST = "val2017"  # 5,000 images, of which none is in train2014 or train2017
_NUM_DIGITS = 100  # of an id that is written as a text: Python refuses to make a number of thousands
_MOST = 1e9  # pixels, of any coordinate; false for what is not a number
KEYS = ("images", "annotations", "categories")

Listing: TypeAlias = Literal["as_written", "as_released"]
"""Which training images there are, and their order. `as_written`: all images, in the order of the file's "images".
`as_released`: those with an annotation (82,081 of train2014's 82,783), in the order of their first one, as the SSD
code that the papers build on does: seeded shuffles of positions choose other images otherwise."""

Crowds: TypeAlias = Literal["as_written", "as_released"]
"""What a crowd ("iscrowd") is in training. `as_written`: difficult, and so left out, as COCO's definition does not
count it. `as_released`: an object as any other, as the code of the works on active learning has it. In the test it is
always difficult."""


class _AbstractCOCO(AbstractAnnotatedFiles):
    """Annotations in COCO's JSON, one file a split.

    Args:
        listing: which training images, in which order; see :data:`Listing`.
        crowds: what crowds are in training; see :data:`Crowds`.
        options: see :class:`alpl.data.annotations.AbstractAnnotatedFiles`.

    Raises:
        ConfigError: a value is out of range.
    """

    name: str
    """What messages call the data set."""
    train: tuple[Path, Path]
    """The file of annotations and the folder of images; a subclass sets both splits."""
    test: tuple[Path, Path]

    def __init__(self, *, listing: Listing = "as_written", crowds: Crowds = "as_written", **options: Any) -> None:
        super().__init__(**options)
        for name, value, allowed in (("listing", listing, get_args(Listing)), ("crowds", crowds, get_args(Crowds))):
            if value not in allowed:
                raise ConfigError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
        self.listing = listing
        self.crowds = crowds

    @final
    def load(self) -> DetectionSplits:
        """Read and check the annotations.

        Raises:
            DataError: files are missing, or annotations are bad and not to be skipped.
        """
        train, classes = read_split(*self.train, "train", self.listing, outside=self.outside)
        if self.crowds == "as_released":
            train.difficult = bytearray(len(train.difficult))
        test, _ = read_split(*self.test, "test", "as_written", outside=self.outside)
        return make_splits(self.name, train, test, classes, self.policy)


@final
class COCO(_AbstractCOCO):
    """MS-COCO 2014 or 2017 in the published layout; val2017 is the test set of both.

    Labels follow the category ids: 0 is person (id 1), 79 is toothbrush (id 90). Crowds are marked as difficult.

    Args:
        root: the folder that holds ``annotations/instances_train<year>.json``, ``train<year>`` and ``val2017``.
        year: of the training images.
        bad: what is done about bad annotations; see :data:`alpl.data.annotations.Bad`. Both years' published training
            annotations hold two boxes of height 0 (images 200365 and 550395), which `error` would stop at.
        options: ``listing``, see :data:`Listing`; ``crowds``, see :data:`Crowds`; ``verify_images`` and
            ``cache_bytes``, see :class:`alpl.data.annotations.AbstractAnnotatedFiles`.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(self, root: str, year: Literal[2014, 2017] = 2017, *, bad: Bad = "skip_boxes", **options: Any) -> None:
        super().__init__(bad=bad, **options)
        if year not in (2014, 2017):
            raise ConfigError(f"year must be 2014 or 2017, got {year!r}")
        folder = Path(root).expanduser()
        self.name = str(folder / "annotations" / f"instances_train{year}.json")
        self.train = folder / "annotations" / f"instances_train{year}.json", folder / f"train{year}"
        self.test = folder / "annotations" / f"instances_{TEST}.json", folder / TEST


@final
class COCOFolder(_AbstractCOCO):
    """A user's own images with annotations in COCO's format, one file a split.

    The classes are the categories of the training file, in the order of their ids; the test file's are matched by
    name.

    Args:
        root: what the other paths are relative to.
        train_annotations: JSON file of the training images.
        train_images: the folder that its file names refer to.
        test_annotations: JSON file of the test images.
        test_images: the folder that its file names refer to.
        name: what messages call the data set; by default its folder. Unlike the folder it is a part of a run's key.
        verify_images: decode every image before training: what people collect has files that broke off.
        options: see :class:`COCO`; ``bad`` is ``error`` by default.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        root: str,
        train_annotations: str = "annotations/train.json",
        train_images: str = "train",
        test_annotations: str = "annotations/test.json",
        test_images: str = "test",
        *,
        name: str | None = None,
        verify_images: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(verify_images=verify_images, **options)
        folder = Path(root).expanduser()
        self.name = name or str(folder)
        self.train = folder / train_annotations, folder / train_images
        self.test = folder / test_annotations, folder / test_images


class _Box(NamedTuple):
    """The part of an annotation that is used: a tenth of the memory of all of it."""

    image: Any
    category: Any
    box: Any
    crowd: Any


def read_split(file: Path, folder: Path, split: str, listing: str, *, outside: bool) -> tuple[Annotations, list[str]]:
    """Read a split; give it and its classes."""
    content = _parse(file)
    _check_categories(file, content["categories"])
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder of images")
    images, boxes = content["images"], content["annotations"]
    categories = _without_supercategory(content["categories"], boxes)
    names = {_id(each["id"]): str(each["name"]) for each in categories}
    if listing == "as_released":
        images = _by_first_annotation(images, boxes)
    result = Annotations(split, outside=outside)
    rows: dict[Any, int] = {}
    for image in images:
        _add_image(image, file, folder, rows, result)
    for box in boxes:
        _add_box(box, file, rows, names, result)
    return result, [names[key] for key in sorted(names, key=lambda key: (isinstance(key, str), key))]


def _parse(file: Path) -> dict[str, Any]:
    """Read the JSON; segmentations, most of the file, are dropped while it is parsed."""
    try:
        check_regular(file)
        with file.open(encoding="utf-8-sig") as stream:
            content = json.load(stream, object_hook=_compact)
    except OSError as error:
        raise DataError(f"{file}: the annotations cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{file}: must hold an object, as COCO's instances_*.json do, got a {type(content).__name__}")
    for key in KEYS:
        if not isinstance(content.get(key), list):
            raise DataError(f"{file}: must hold a list {key!r}, as COCO's instances_*.json do")
    return content


def _check_categories(file: Path, categories: list[Any]) -> None:
    for key, kind, is_one in (
        ("id", "numbers or texts", _is_id),
        ("name", "texts", lambda name: isinstance(name, str)),
    ):
        values = [each.get(key) if isinstance(each, dict) else None for each in categories]
        if not values or not all(map(is_one, values)) or len({_id(each) for each in values}) != len(values):
            raise DataError(f"{file}: the categories must have different {key}s ({kind}), got {str(values[:10])[:200]}")


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _id(value: Any) -> Any:
    """Give an id as the number that it may be written as: some tools write them as texts."""
    is_number = isinstance(value, str) and len(value) <= _NUM_DIGITS and value.isascii() and value.isdecimal()
    return int(value) if is_number else value


def _without_supercategory(categories: list[Any], boxes: list[Any]) -> list[Any]:
    """Leave out what Roboflow writes first: the others' supercategory, with id 0, of which there is no object."""
    above = {each.get("supercategory") for each in categories if _id(each["id"]) != 0}
    used = {_id(box.category) for box in boxes if isinstance(box, _Box) and _is_id(box.category)}
    return [each for each in categories if _id(each["id"]) != 0 or 0 in used or above != {each["name"]}]


def _compact(value: dict[str, Any]) -> Any:
    if "image_id" in value and "category_id" in value:
        box = value["bbox"] if "bbox" in value else _box_of(value.get("segmentation"))
        return _Box(value["image_id"], value["category_id"], box, value.get("iscrowd", 0))
    return value


def _box_of(polygons: Any) -> list[float] | None:
    """Give the box (left, top, width, height) around polygons, where an annotation has none; None for anything else."""
    if not isinstance(polygons, list) or not polygons or not all(isinstance(each, list) for each in polygons):
        return None
    numbers = [number for polygon in polygons for number in polygon]
    if not numbers or any(len(each) % 2 for each in polygons) or not all(_is_number(number) for number in numbers):
        return None
    x, y = ([number for polygon in polygons for number in polygon[axis::2]] for axis in (0, 1))
    return [min(x), min(y), max(x) - min(x), max(y) - min(y)]


def _by_first_annotation(images: Iterable[Any], boxes: Iterable[Any]) -> list[Any]:
    by_id = {_id(image["id"]): image for image in images if isinstance(image, dict) and _is_id(image.get("id"))}
    order = dict.fromkeys(_id(box.image) for box in boxes if isinstance(box, _Box) and _is_id(box.image))
    return [by_id[key] for key in order if key in by_id]


def _add_image(image: Any, file: Path, folder: Path, rows: dict[Any, int], split: Annotations) -> None:
    if not isinstance(image, dict) or not isinstance(image.get("file_name"), str) or not _is_id(image.get("id")):
        raise DataError(f"{file}: every image must have an id and a file_name, got {str(image)[:100]}")
    name, height, width = image["file_name"], image.get("height"), image.get("width")
    size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    path = os.path.normpath(folder / _place(name, folder))
    row = split.add_image(name, path, file, size)
    if refusal := split.refusal(path, folder):
        split.refuse(row, file, refusal)
    if rows.setdefault(_id(image["id"]), row) != row:
        first = split.names[rows[_id(image["id"])]]
        split.fault(row, file, f"the image id {image['id']} is given twice, to {first} and {name}")


def _place(name: str, folder: Path) -> str:
    """Give the path that a name of a file means; Windows writes backslashes, which may stand in a name elsewhere."""
    if "\\" not in name:
        return name
    try:
        is_there = (folder / name).exists()
    except (OSError, ValueError):  # longer than a file's name may be, or with a null byte
        is_there = False
    return name if is_there else name.replace("\\", "/")


def _add_box(box: Any, file: Path, rows: dict[Any, int], names: dict[Any, str], split: Annotations) -> None:
    if not isinstance(box, _Box) or not _is_id(box.image) or not _is_id(box.category) or _id(box.image) not in rows:
        got = f"image_id={box.image!r}, category_id={box.category!r}" if isinstance(box, _Box) else str(box)
        what = f"an annotation must have a category_id and the image_id of a listed image, got {got[:100]}"
        split.stray_faults.append(Problem(str(file), what))
        return
    row, name = rows[_id(box.image)], names.get(_id(box.category), f"category {box.category}")
    numbers = [_number(each) for each in box.box] if isinstance(box.box, list) else []
    crowd, fault = _mark(box.crowd), None
    if len(numbers) != 4 or not all(map(_is_number, numbers)):
        fault = f"the {name!r} annotation must have a bbox of four numbers, got {str(box.box)[:50]}"
    elif crowd is None:
        fault = f"the {name!r} annotation must have an iscrowd of 0 or 1, got {str(box.crowd)[:50]!r}"
    if fault is not None:
        split.add_box(row, [math.nan] * 4, name, fault=fault)
        return
    left, top, width, height = numbers
    split.add_box(row, (left, top, left + width, top + height), name, difficult=bool(crowd))


def _mark(value: Any) -> bool | None:
    """Give what a mark says, which some tools write as a text; no mark says no. None where it says nothing."""
    if isinstance(value, str):
        return MARKS.get(value.strip().lower())
    return bool(value) if value is None or (isinstance(value, (int, float)) and value in (0, 1)) else None


def _number(value: Any) -> Any:
    """Give a number that is written as a text as one; anything else as it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _is_number(value: Any) -> bool:
    """Whether it is a number that a box may have; JSON has whole ones of any length."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _MOST
