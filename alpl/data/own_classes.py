"""One's own images, some with a class: in folders called as the classes, or listed in a table."""

from __future__ import annotations

import csv
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
import torch
from PIL import Image

from alpl.data.image_files import decode_image
from alpl.data.own import TEST_SHARE, check_share, held_out, images_below, say
from alpl.data.sets import ImageSet, Splits
from alpl.data.source import AbstractSource
from alpl.errors import ConfigError, DataError
from alpl.machine.cells import name_of
from alpl.machine.files import reading
from alpl.machine.terminal import printable

_NUM_NAMED = 10  # broken files that an error names
_NUM_THREADS = 8


class OwnImage(NamedTuple):
    """An image of one's own: its file, its class (None for none), and whether it is of the test set."""

    path: Path
    label: str | None
    is_test: bool = False


class AbstractOwnClasses(AbstractSource):
    """Own images, some with a class, all in memory: ``3 * size * size`` bytes each.

    Args:
        root: the folder of the data.
        size: side of the squares that images become: the shorter side is resized to it, the middle is cut out.
        name: what messages call the data; by default their folder. Unlike the folder it is a part of a run's key.
        classes: names in the order of the labels; None for all that are found, sorted.
        test_share: of each class's labeled images, held out where there is no test set.
        test_seed: of that draw; it is not the run's.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        root: str,
        size: int = 64,
        *,
        name: str | None = None,
        classes: Sequence[str] | None = None,
        test_share: float = TEST_SHARE,
        test_seed: int = 0,
    ) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ConfigError(f"data.source.size must be an int >= 1, got {size!r}")
        if classes is not None and (not classes or len(set(classes)) != len(classes)):
            raise ConfigError(
                f"data.source.classes must be different names, at least one, or null, got {list(classes)}"
            )
        check_share(test_share)
        self.root = Path(root).expanduser()
        self.size = size
        self.name = name or str(self.root)
        self.classes = None if classes is None else tuple(classes)
        self.test_share, self.test_seed = test_share, test_seed

    @abstractmethod
    def list_images(self) -> list[OwnImage]:
        """List all images, in an order that is the same everywhere.

        Raises:
            DataError: there is no folder or table, or it is broken.
        """

    @final
    def load(self) -> Splits:
        """Read and decode every image.

        Raises:
            DataError: none is labeled, a class is unknown, or images cannot be decoded; names the first ten.
        """
        images = self.list_images()
        found = sorted({image.label for image in images if image.label is not None})
        classes = self.classes or tuple(found)
        if not found:
            raise DataError(
                f"{self.name}: {len(images)} images, and none has a class: label a few, of each class, first"
            )
        if wrong := [name for name in found if name not in classes]:
            raise DataError(f"{self.name}: data.source.classes must name all classes, there are {wrong[:_NUM_NAMED]}")
        train, test = self._split(images, classes)
        if not any(image.label is not None for image in train):
            raise DataError(f"{self.name}: no labeled image is left to be trained on")
        pixels = self._decode([image.path for image in [*train, *test]])
        label_of = {name: label for label, name in enumerate(classes)}
        targets = torch.tensor([-1 if each.label is None else label_of[each.label] for each in [*train, *test]])
        annotated = (targets[: len(train)] >= 0).nonzero().flatten()
        say(f"{self.name}: {len(annotated)} labeled images, {len(train) - len(annotated)} others are the pool")
        return Splits(
            ImageSet(pixels[: len(train)], targets[: len(train)]),
            ImageSet(pixels[len(train) :], targets[len(train) :]),
            classes,
            annotated=annotated,
            files=tuple(str(image.path) for image in train),
        )

    def _split(self, images: Sequence[OwnImage], classes: Sequence[str]) -> tuple[list[OwnImage], list[OwnImage]]:
        train = [image for image in images if not image.is_test]
        test = [image for image in images if image.is_test and image.label is not None]
        if left := sum(image.is_test for image in images) - len(test):
            say(f"{self.name}: {left} test images have no class and are left out")
        if test:
            return train, test
        groups = [[row for row, image in enumerate(train) if image.label == name] for name in classes]
        taken = set(held_out(groups, self.test_share, self.test_seed, self.name))
        kept = [image for row, image in enumerate(train) if row not in taken]
        return kept, [train[row] for row in sorted(taken)]

    def _decode(self, paths: Sequence[Path]) -> torch.Tensor:
        """``UInt8[N 3 size size]``; the threads write into one array, so that nothing is held twice."""
        images = torch.empty(len(paths), 3, self.size, self.size, dtype=torch.uint8)
        with ThreadPoolExecutor(_NUM_THREADS) as workers:
            faults = [fault for fault in workers.map(_decode_into, images.numpy(), paths) if fault]
        if faults:
            rest = f"; and {len(faults) - _NUM_NAMED} more" if len(faults) > _NUM_NAMED else ""
            raise DataError(printable(f"{self.name}: broken images: {'; '.join(faults[:_NUM_NAMED])}{rest}"))
        return images


@final
class OwnClasses(AbstractOwnClasses):
    """Folders called as the classes: ``train/<class>`` (or, without ``train``, ``<class>``) and ``test/<class>``.

    Unlabeled images lie in ``unlabeled``, or beside the folders of the classes. See :class:`AbstractOwnClasses` for the
    arguments.
    """

    def list_images(self) -> list[OwnImage]:
        """See the base class."""
        train = self.root / "train" if (self.root / "train").is_dir() else self.root
        apart = (self.root / "unlabeled", self.root / "test")
        found = []
        for path in images_below(train):
            if not any(path.is_relative_to(folder) for folder in apart):
                parts = path.relative_to(train).parts
                found.append(OwnImage(path, parts[0] if len(parts) > 1 else None))
        if apart[0].is_dir():
            found += [OwnImage(path, None) for path in images_below(apart[0])]
        if apart[1].is_dir():
            for path in images_below(apart[1]):
                parts = path.relative_to(apart[1]).parts
                found.append(OwnImage(path, parts[0] if len(parts) > 1 else None, is_test=True))
        return found


@final
class OwnTable(AbstractOwnClasses):
    """A CSV file with the columns ``image`` and ``label``, empty for unlabeled ones, and maybe ``split`` (train, test).

    Args:
        root: see :class:`AbstractOwnClasses`; images are relative to it.
        table: the file, relative to ``root``.
        options: see :class:`AbstractOwnClasses`.
    """

    def __init__(self, root: str, table: str = "labels.csv", **options: object) -> None:
        super().__init__(root, **options)  # type: ignore[arg-type]
        self.table = self.root / table

    def list_images(self) -> list[OwnImage]:
        """See the base class."""
        what = "a CSV file with the columns image and label"
        with reading(self.table, what), self.table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            if not {"image", "label"} <= set(reader.fieldnames or ()):
                raise DataError(f"{self.table} must be {what}, got {list(reader.fieldnames or ())}")
            found = [self._image(line, reader.line_num) for line in reader]
        paths = [image.path for image in found]
        if len(set(paths)) < len(paths):
            twice = sorted(str(path) for path in set(paths) if paths.count(path) > 1)
            raise DataError(f"{self.table} must name each image once, got {', '.join(twice[:_NUM_NAMED])} again")
        return found

    def _image(self, line: dict[str, str | None], number: int) -> OwnImage:
        name, label = (name_of((line[column] or "").strip()) for column in ("image", "label"))
        split = (line.get("split") or "train").strip()
        if not name or split not in ("train", "test"):
            raise DataError(
                f"{self.table}, line {number}: there must be an image, of train or test, got {name!r}, {split!r}"
            )
        return OwnImage(self.root / name, label or None, split == "test")


def _decode_into(slot: np.ndarray, path: Path) -> str | None:
    """Decode one image into ``slot`` (``UInt8[3 s s]``); give what is wrong with it."""
    try:
        pixels = decode_image(path)
    except DataError as error:
        return str(error)
    image = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    side, size = min(image.size), slot.shape[-1]
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    slot[:] = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)).transpose(
        2, 0, 1
    )
    return None
