"""MS-COCO, and a user's own images with annotations in its format. The JSON is read without pycocotools."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, final, get_args

from alpl.boxes.objects import DetectionSplits
from alpl.data.annotations import AbstractAnnotatedFiles, Annotations, Bad, Problem, make_splits
from alpl.errors import ConfigError, DataError

TEST = "val2017"  # 5,000 images, of which none is in train2014 or train2017
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
        train, classes = _read(*self.train, "train", self.listing)
        if self.crowds == "as_released":
            train.difficult = bytearray(len(train.difficult))
        test, _ = _read(*self.test, "test", "as_written")
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
        **options: Any,
    ) -> None:
        super().__init__(**options)
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


def _read(file: Path, folder: Path, split: str, listing: str) -> tuple[Annotations, list[str]]:
    """Read a split; give it and its classes."""
    content = _parse(file)
    _check_categories(file, content["categories"])
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder of images")
    names = {each["id"]: str(each["name"]) for each in content["categories"]}
    images, boxes = content["images"], content["annotations"]
    if listing == "as_released":
        images = _by_first_annotation(images, boxes)
    result = Annotations(split)
    rows: dict[Any, int] = {}
    for image in images:
        _add_image(image, file, folder, rows, result)
    for box in boxes:
        _add_box(box, file, rows, names, result)
    return result, [names[key] for key in sorted(names)]


def _parse(file: Path) -> dict[str, Any]:
    """Read the JSON; segmentations, most of the file, are dropped while it is parsed."""
    try:
        with file.open(encoding="utf-8") as stream:
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
    for key, kind in (("id", int), ("name", str)):
        values = [each.get(key) if isinstance(each, dict) else None for each in categories]
        if not values or not all(isinstance(each, kind) for each in values) or len(set(values)) != len(values):
            raise DataError(f"{file}: the categories must have different {key}s ({kind.__name__}), got {values[:10]}")


def _compact(value: dict[str, Any]) -> Any:
    if "image_id" in value and "category_id" in value:
        return _Box(value["image_id"], value["category_id"], value.get("bbox"), value.get("iscrowd", 0))
    return value


def _by_first_annotation(images: Iterable[Any], boxes: Iterable[Any]) -> list[Any]:
    by_id = {image.get("id"): image for image in images if isinstance(image, dict)}
    order = dict.fromkeys(box.image for box in boxes if isinstance(box, _Box))
    return [by_id[key] for key in order if key in by_id]


def _add_image(image: Any, file: Path, folder: Path, rows: dict[Any, int], split: Annotations) -> None:
    if not isinstance(image, dict) or not isinstance(image.get("file_name"), str) or "id" not in image:
        raise DataError(f"{file}: every image must have an id and a file_name, got {str(image)[:100]}")
    name, height, width = image["file_name"], image.get("height"), image.get("width")
    size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    row = split.add_image(name, folder / name, file, size)
    if rows.setdefault(image["id"], row) != row:
        first = split.names[rows[image["id"]]]
        split.fault(row, file, f"the image id {image['id']} is given twice, to {first} and {name}")


def _add_box(box: Any, file: Path, rows: dict[Any, int], names: dict[Any, str], split: Annotations) -> None:
    if not isinstance(box, _Box) or box.image not in rows:
        what = f"an annotation must have a category_id and the image_id of a listed image, got {str(box)[:100]}"
        split.stray_faults.append(Problem(str(file), what))
        return
    name = names.get(box.category, f"category {box.category}")
    if isinstance(box.box, list) and len(box.box) == 4 and all(_is_number(number) for number in box.box):
        left, top, width, height = box.box
        xyxy = (left, top, left + width, top + height)
        split.add_box(rows[box.image], xyxy, name, difficult=bool(box.crowd))
    else:
        fault = f"the {name!r} annotation must have a bbox of four numbers, got {str(box.box)[:50]}"
        split.add_box(rows[box.image], [math.nan] * 4, name, fault=fault)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
