"""Make a tiny KITTI in the published layout: python tests/data/fake/kitti.py FOLDER."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 124, 100
FAR_AWAY = "-1 -1 -1 -1000 -1000 -1000 -10"  # what a DontCare has for its size, place and angle in space


class FakeObject(NamedTuple):
    """An object as KITTI writes it: left, top, right and bottom in pixels from 0."""

    name: str = "Car"
    box: tuple[object, object, object, object] = (10.0, 10.0, 60.0, 60.0)
    truncated: object = "0.00"
    occluded: object = 0

    @property
    def line(self) -> str:
        """The 15 columns."""
        corners = " ".join(f"{each:.2f}" if isinstance(each, float) else str(each) for each in self.box)
        space = FAR_AWAY if self.name == "DontCare" else "1.50 1.60 3.70 1.00 1.65 12.30 0.10"
        return f"{self.name} {self.truncated} {self.occluded} 0.20 {corners} {space}"


EVERY_KIND = (
    FakeObject("Car", (10.0, 10.0, 60.0, 50.0)),  # 40 pixels high: easy
    FakeObject("Car", (10.0, 10.0, 60.0, 49.9)),  # moderate
    FakeObject("Cyclist", (0.0, 10.0, 30.0, 90.0), "0.30", 1),  # moderate
    FakeObject("Pedestrian", (0.0, 10.0, 30.0, 90.0), "0.31", 0),  # hard
    FakeObject("Pedestrian", (70.0, 10.0, 90.0, 90.0), "0.00", 3),  # beyond hard
    FakeObject("Van", (62.0, 10.0, 90.0, 60.0)),
    FakeObject("Person_sitting", (92.0, 10.0, 110.0, 60.0)),
    FakeObject("Truck", (92.0, 10.0, 123.0, 60.0)),
    FakeObject("Tram", (92.0, 10.0, 123.0, 60.0)),
    FakeObject("Misc", (92.0, 10.0, 123.0, 60.0)),
    FakeObject("DontCare", (80.0, 0.0, 123.0, 9.0), "-1", -1),
)
"""One of each kind."""


def make_kitti(
    root: Path, train: Sequence[str] = ("000003", "000001", "000007"), val: Sequence[str] = ("000002",)
) -> Path:
    """Write images, labels and the two lists; give ``root``.

    Image k of all is of red level k and has a car, a pedestrian and a cyclist, one a region too; the first has one of
    each kind (:data:`EVERY_KIND`) instead.
    """
    for number, name in enumerate((*train, *val)):
        write_image(root, name, number)
        write_labels(root, name, _objects(number) if number else EVERY_KIND)
    for split, names in (("train", train), ("val", val)):
        write_list(root, split, names)
    return root


def write_list(root: Path, split: str, names: Sequence[str]) -> None:
    """Write ``ImageSets/<split>.txt``."""
    file = root / "ImageSets" / f"{split}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{name}\n" for name in names))


def write_image(root: Path, name: str, level: int) -> Path:
    """Write an image of one level in the red channel only; give its file."""
    file = root / "training" / "image_2" / f"{name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    pixels[..., 0] = level
    Image.fromarray(pixels).save(file)
    return file


def write_labels(root: Path, name: str, objects: Sequence[FakeObject]) -> Path:
    """Write ``label_2/<name>.txt``; give it."""
    file = root / "training" / "label_2" / f"{name}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{each.line}\n" for each in objects))
    return file


def _objects(number: int) -> list[FakeObject]:
    objects = [
        FakeObject("Car", (float(number), 20.0, float(number + 50), 70.0)),
        FakeObject("Pedestrian", (60.0, 5.0, 80.0, 90.0)),
        FakeObject("Cyclist", (85.0, 30.0, 120.0, 90.0), "0.20", 1),
    ]
    return [*objects, FakeObject("DontCare", (90.0, 0.0, 120.0, 25.0), "-1", -1)] if number % 2 else objects


if __name__ == "__main__":
    print(make_kitti(Path(sys.argv[1])))
