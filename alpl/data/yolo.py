"""Ultralytics' layout of images with boxes: a yaml, and a text file an image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import yaml  # type: ignore[import-untyped, unused-ignore]

from alpl.data.annotations import Annotations
from alpl.data.image_files import listed_names, read_size
from alpl.data.own import images_below, no_box
from alpl.errors import DataError
from alpl.exchange.yolo import names_in
from alpl.machine.files import reading


@final
@dataclass(frozen=True)
class YOLOLayout:
    """What the yaml says.

    Args:
        file: the yaml.
        classes: names of the K classes.
        train: folders of images, or text files that list them.
        test: the same of the test set; None where there is none.
    """

    file: Path
    classes: tuple[str, ...]
    train: tuple[Path, ...]
    test: tuple[Path, ...] | None

    @classmethod
    def read(cls, file: Path) -> YOLOLayout:
        """Read the yaml. Its ``path`` is relative to its own folder.

        Raises:
            DataError: it cannot be read, or has no names or no ``train``.
        """
        classes = names_in(file)
        with reading(file, "train, and maybe path, val and test, as Ultralytics' data.yaml does"):
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
            root = file.parent / str(content.get("path") or ".")
            if not root.is_dir():
                root = file.parent
            test = content.get("test") or content.get("val")
            return cls(file, classes, _paths(root, content["train"]), _paths(root, test) if test else None)

    def images(self, places: Sequence[Path]) -> list[Path]:
        """List the images of some places, in order, each once.

        Raises:
            DataError: a folder or list cannot be read.
        """
        found: list[Path] = []
        for place in places:
            if place.suffix == ".txt":
                found += [place.parent / line.strip() for line in listed_names(place) if line.strip()]
            else:
                found += images_below(place)
        return list(dict.fromkeys(Path(os.path.normpath(path)) for path in found))

    def labels_of(self, image: Path) -> Path:
        """Give the file of an image's boxes: ``labels`` in place of the last ``images`` of its path."""
        path = os.path.abspath(image.with_suffix(".txt"))  # a relative one may begin with images  # noqa: PTH100
        before, middle, after = path.rpartition(f"{os.sep}images{os.sep}")
        return Path(f"{before}{os.sep}labels{os.sep}{after}" if middle else after)

    def add(self, image: Path, split: Annotations) -> bool:
        """Add an image with its boxes; give whether it has a file of them."""
        file = self.labels_of(image)
        row = split.add_image(image.name, image, file, None)
        root = self.file.parent
        if refusal := split.refusal(image, root):
            split.refuse(row, self.file, refusal)
            return False
        if not file.exists():
            return False
        try:
            lines = [line.split() for line in listed_names(file)]
        except DataError as error:
            split.fault(row, file, str(error))
            return True
        lines = [words for words in lines if words]
        size = read_size(image, decode=False) if lines else (0, 0)
        if isinstance(size, str):  # whoever checks the image says why
            return True
        for words in lines:
            self._add_box(row, words, size, split)
        return True

    def _add_box(self, row: int, words: Sequence[str], size: tuple[int, int], split: Annotations) -> None:
        shown = " ".join(words)[:80]
        try:
            numbers = [float(word) for word in words[1:]]
            label = int(words[0])
        except ValueError:
            split.add_box(row, no_box(), "", fault=f"the line {shown!r} must hold numbers")
            return
        name = self.classes[label] if 0 <= label < len(self.classes) else f"class {label}"
        corners = _corners(numbers)
        if corners is None:
            what = "must be a class, and x, y, width, height or a polygon"
            split.add_box(row, no_box(), name, fault=f"the line {shown!r} {what}")
            return
        height, width = size
        x1, y1, x2, y2 = corners
        split.add_box(row, (x1 * width, y1 * height, x2 * width, y2 * height), name)


def _corners(numbers: Sequence[float]) -> tuple[float, float, float, float] | None:
    """Give the corners of a box, or around a polygon, in shares of the image; None where it is neither."""
    if len(numbers) == 4:
        x, y, width, height = numbers
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if len(numbers) < 6 or len(numbers) % 2:
        return None
    return min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])


def _paths(root: Path, value: Any) -> tuple[Path, ...]:
    return tuple(root / str(each) for each in (value if isinstance(value, list) else [value]))
