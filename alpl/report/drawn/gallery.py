"""The images that were queried: small pictures with the objects that the acquisition looked at.

alpl/recording/gallery.py makes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from alpl.errors import DataError
from alpl.machine.files import read_object
from alpl.report.read.aggregate import Variant

MAX_PICTURES = 48  # of a page: each is 10 to 30 KB
PER_QUERY = 6
MAX_COUNTED, MAX_UNCOUNTED = 5, 3  # boxes of a picture; more hide what is below them


@final
@dataclass(frozen=True)
class Uncertainty:
    """One of AL-MDN's four.

    Args:
        name: in words.
        value: as the network gave it.
        share: of the detections that counted below it, in [0, 1].
    """

    name: str
    value: float
    share: float


@final
@dataclass(frozen=True)
class Box:
    """One detection on a picture.

    Args:
        x: of the left edge, in pixels of the original image, as all four.
        y: of the upper edge.
        width: of the box.
        height: of the box.
        name: the class.
        score: detection confidence.
        value: in the acquisition; None where it did not count.
        decided: whether it is the one of highest value.
        uncertainties: those that the network gives.
    """

    x: float
    y: float
    width: float
    height: float
    name: str
    score: float
    value: float | None
    decided: bool
    uncertainties: tuple[Uncertainty, ...] = ()


@final
@dataclass(frozen=True)
class Picture:
    """One queried image.

    Args:
        jpeg: the file's bytes.
        index: dataset index.
        name: the image's name.
        rank: place in the query, from 0.
        utility: the value of the image.
        width: of the original image.
        height: of the original image.
        boxes: the 5 of highest value, or the 3 of highest score where none counted.
        num_counted: detections that counted.
        num_detections: all detections.
    """

    jpeg: bytes
    index: int
    name: str
    rank: int
    utility: float
    width: int
    height: int
    boxes: tuple[Box, ...]
    num_counted: int
    num_detections: int


@final
@dataclass(frozen=True)
class GalleryPart:
    """The first images of one query.

    Args:
        data: the data set.
        label: of the variant.
        seed: of the run that is shown.
        cycle: the query's.
        num_queried: images of the query.
        values_objects: whether the acquisition gives each object a value.
        pictures: some of them, in the order of choice.
    """

    data: str
    label: str
    seed: int
    cycle: int
    num_queried: int
    values_objects: bool
    pictures: tuple[Picture, ...]


def galleries(variants: Sequence[Variant], notes: list[str]) -> list[GalleryPart]:
    """Read galleries of the first seed that has one, of each variant: its first, middle and last query.

    All of them together hold at most 48 pictures, so that the page stays small.

    Args:
        variants: of all data sets.
        notes: what cannot be read or is left out is named here (appended to).
    """
    places = [place for variant in variants for place in _places(variant)]
    shown = places[:MAX_PICTURES]
    if len(places) > len(shown):
        notes.append(f"galleries of {len(places) - len(shown)} queries are left out to keep the page small")
    limit = min(PER_QUERY, MAX_PICTURES // max(1, len(shown)))
    parts = []
    for variant, seed, cycle, folder in shown:
        try:
            parts.append(_part(variant, seed, cycle, folder, limit))
        except DataError as error:
            notes.append(str(error))
    return parts


def _places(variant: Variant) -> list[tuple[Variant, int, int, Path]]:
    for run in variant.runs:
        if cycles := run.gallery_cycles:
            chosen = sorted({cycles[0], cycles[len(cycles) // 2], cycles[-1]})
            return [(variant, run.seed, cycle, run.gallery_folder(cycle)) for cycle in chosen]
    return []


def _part(variant: Variant, seed: int, cycle: int, folder: Path, limit: int) -> GalleryPart:
    try:
        about = read_object(folder / "gallery.json")
        classes = [str(name) for name in about["classes"]]
        pictures = tuple(_picture(entry, folder, classes) for entry in about["images"][:limit])
        queried, values_objects = int(about["num_queried"]), bool(about["values_objects"])
    except (OSError, AttributeError, KeyError, IndexError, OverflowError, TypeError, ValueError) as error:
        raise DataError(f"the gallery {folder} is left out: {type(error).__name__}: {error}") from error
    return GalleryPart(variant.data, variant.label, seed, cycle, queried, values_objects, pictures)


def _picture(entry: Mapping[str, Any], folder: Path, classes: Sequence[str]) -> Picture:
    found = [_box(each, classes) for each in entry["detections"]]
    counted = sorted(
        (box for box in found if box.value is not None), key=lambda box: (not box.decided, -(box.value or 0))
    )
    drawn = counted[:MAX_COUNTED] or sorted(found, key=lambda box: -box.score)[:MAX_UNCOUNTED]
    return Picture(
        jpeg=(folder / Path(entry["file"]).name).read_bytes(),
        index=int(entry["index"]),
        name=str(entry["name"]),
        rank=int(entry["rank"]),
        utility=float(entry["utility"]),
        width=int(entry["width"]),
        height=int(entry["height"]),
        boxes=tuple(drawn),
        num_counted=len(counted),
        num_detections=len(found),
    )


def _box(found: Mapping[str, Any], classes: Sequence[str]) -> Box:
    x1, y1, x2, y2 = (float(edge) for edge in found["box"])
    value = None if found["value"] is None else float(found["value"])
    name = classes[int(found["label"])]
    uncertainties = tuple(
        Uncertainty(str(key).replace("_", " "), float(one["value"]), float(one["share"]))
        for key, one in found.get("uncertainties", {}).items()
    )
    size = max(0.0, x2 - x1), max(0.0, y2 - y1)
    return Box(x1, y1, *size, name, float(found["score"]), value, bool(found["decided"]), uncertainties)
