"""Make a tiny PASCAL VOC in the published layout: python tests/data/fake/voc.py FOLDER."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 40, 30


class FakeObject(NamedTuple):
    """An object as VOC writes it: corners count from 1, the last pixel included."""

    name: str = "dog"
    box: tuple[object, object, object, object] = (1, 1, WIDTH, HEIGHT)
    difficult: object = 0


def make_voc(root: Path, year: str, splits: dict[str, Sequence[str]]) -> Path:
    """Write ``root/VOCdevkit/VOC<year>`` with the images of ``splits``; give the folder.

    Image k of all has one dog, whose box starts at (k + 1, 2), and if k is odd a difficult person with a head.
    """
    folder = root / "VOCdevkit" / f"VOC{year}"
    number = 0
    for split, names in splits.items():
        write_list(folder, split, names)
        for name in names:
            objects = [FakeObject("dog", (number + 1, 2, number + 10, 20))]
            objects += [FakeObject("person", (3, 4, WIDTH, HEIGHT), 1)] if number % 2 else []
            write_image(folder, name, number)
            write_annotation(folder, name, objects)
            number += 1
    return folder


def write_list(folder: Path, split: str, names: Sequence[str]) -> None:
    """Write ``ImageSets/Main/<split>.txt``."""
    file = folder / "ImageSets" / "Main" / f"{split}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{name}\n" for name in names))


def write_image(
    folder: Path, name: str, level: int, suffix: str = ".jpg", size: tuple[int, int] = (HEIGHT, WIDTH)
) -> Path:
    """Write an image of one gray level in the red channel only; give its file."""
    file = folder / "JPEGImages" / f"{name}{suffix}"
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((*size, 3), dtype=np.uint8)
    pixels[..., 0] = level
    Image.fromarray(pixels).save(file)
    return file


def write_annotation(
    folder: Path, name: str, objects: Sequence[FakeObject], size: tuple[int, int] = (HEIGHT, WIDTH)
) -> Path:
    """Write ``Annotations/<name>.xml``; give its file."""
    file = folder / "Annotations" / f"{name}.xml"
    file.parent.mkdir(parents=True, exist_ok=True)
    head = f"<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size><segmented>0</segmented>"
    body = "".join(_object(each) for each in objects)
    file.write_text(f"<annotation><filename>{name}.jpg</filename>{head}{body}</annotation>")
    return file


def _object(each: FakeObject) -> str:
    corners = dict(zip(("xmin", "ymin", "xmax", "ymax"), each.box, strict=True))
    # as in VOC2012: the corners in another order, and the box of a part
    box = "".join(f"<{key}>{corners[key]}</{key}>" for key in ("xmax", "xmin", "ymax", "ymin"))
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    part = part if each.name == "person" else ""
    return (
        f"<object><name>{each.name}</name>{part}<difficult>{each.difficult}</difficult><bndbox>{box}</bndbox></object>"
    )


if __name__ == "__main__":
    make_voc(Path(sys.argv[1]), "2012", {"trainval": ["2008_000008", "2008_000015"]})
    print(make_voc(Path(sys.argv[1]), "2007", {"trainval": ["000005", "000007"], "test": ["000001", "000002"]}))
