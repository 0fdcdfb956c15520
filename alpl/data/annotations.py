"""What a reader finds in the annotations of a split, as it is written.

Axes: N images, I boxes of all images.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, final, get_args

from alpl.boxes.objects import AbstractDetectionSource
from alpl.errors import ConfigError

Bad: TypeAlias = Literal["error", "skip_images", "skip_boxes"]
"""What is done about problems: nothing is trained (error), the images are left out, or only the bad boxes are.

An image that cannot be read as a whole (no file, not an image, no annotation, listed twice) is left out by both of
the last two."""

Action: TypeAlias = Literal["error", "warn"]
"""What is done about images that have the same bytes, in a split or in two: they are told (warn), or a problem."""

SLACK = 1.0  # pixels that a box may stick out, e.g. because someone counted from 0; it is clipped
NUM_NAMED = 10  # problems that an error names one by one
NUM_ALIKE = 3  # files that are named of those with the same problem
MARKS = {"0": False, "false": False, "unspecified": False, "1": True, "true": True}
"""How files write whether something holds, such as that an object is difficult."""


class Problem(NamedTuple):
    """Something wrong with the data set."""

    file: str
    what: str
    unknown_class: str | None = None
    """The name on a box that is of none of the classes."""

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


@final
@dataclass(eq=False)
class Annotations:
    """A split as its files say it; a reader fills it image by image.

    It is checked by :func:`alpl.data.annotation_checks.make_splits`.

    Args:
        split: its name, for messages.
        shift: what is added to x1 and y1, and to x2 and y2, as they are written, so that they count from 0 and x2 and
            y2 are one past the last pixel.
        outside: whether files outside of the folder that they belong to are read.
    """

    split: str
    shift: tuple[float, float] = (0.0, 0.0)
    outside: bool = False
    names: list[str] = field(default_factory=list)
    """N image names."""
    paths: list[str] = field(default_factory=list)
    """N image files."""
    files: list[str] = field(default_factory=list)
    """N files that hold the boxes, for messages."""
    stated_sizes: list[tuple[int, int] | None] = field(default_factory=list)
    """N heights and widths as annotated, None where they are not."""
    stray_faults: list[Problem] = field(default_factory=list)
    """Problems of no image, such as boxes of images that are not listed."""
    image_faults: dict[int, list[Problem]] = field(default_factory=dict)
    """Problems of a whole image, by its position."""
    refused: set[int] = field(default_factory=set)
    """Positions of images whose files must not be opened."""
    box_faults: dict[int, str] = field(default_factory=dict)
    """What is wrong with a box, by its position."""
    classes: list[str] = field(default_factory=list)
    """I class names."""
    difficult: bytearray = field(default_factory=bytearray)
    """I marks, 0 or 1."""
    levels: bytearray = field(default_factory=bytearray)
    """I levels; see :class:`alpl.boxes.objects.Objects`."""
    regions: set[int] = field(default_factory=set)
    """Positions of boxes that are regions to be ignored, of no class."""
    row: array[int] = field(default_factory=lambda: array("q"))
    """I images."""
    written: array[float] = field(default_factory=lambda: array("d"))
    """4 I numbers: xyxy as written."""

    def add_image(self, name: str, path: str | Path, file: str | Path, size: tuple[int, int] | None) -> int:
        """Add an image; give its position."""
        self.names.append(name)
        self.paths.append(str(path))
        self.files.append(str(file))
        self.stated_sizes.append(size)
        return len(self.names) - 1

    def add_box(
        self,
        row: int,
        box: Sequence[float],
        name: str,
        *,
        difficult: bool = False,
        level: int = 0,
        fault: str | None = None,
    ) -> None:
        """Add a box of image ``row``: xyxy as written and the name of its class, or what is wrong with it."""
        if fault is not None:
            self.box_faults[len(self.row)] = fault
        self.row.append(row)
        self.written.extend(box)
        self.classes.append(name)
        self.difficult.append(difficult)
        self.levels.append(level)

    def add_region(self, row: int, box: Sequence[float], name: str) -> None:
        """Add a region of image ``row`` where nothing that is found counts: xyxy and what messages call it."""
        self.regions.add(len(self.row))
        self.add_box(row, box, name, difficult=True)

    def fault(self, row: int, file: str | Path, what: str) -> None:
        """Note a problem of a whole image."""
        self.image_faults.setdefault(row, []).append(Problem(str(file), what))

    def refusal(self, path: str | Path, folder: Path) -> str:
        """Say why a file is not to be opened: it lies outside of its folder. Empty where it is, or may lie anywhere."""
        if self.outside or Path(os.path.normpath(path)).is_relative_to(os.path.normpath(folder)):
            return ""
        return f"{path} lies outside of {folder}; data.source.outside=true reads it"

    def refuse(self, row: int, file: str | Path, what: str) -> None:
        """Note a problem for which the image must not even be opened."""
        self.refused.add(row)
        self.fault(row, file, what)


@final
class Policy(NamedTuple):
    """How a data set is checked and kept.

    Args:
        bad: see :data:`Bad`.
        verify_images: decode every image once; else only its header is read.
        cache_bytes: budget for decoded images, training images first; see :class:`ImageFiles`.
        max_megapixels: of an image; larger ones are a problem.
        allow_lost: classes that may lose all their objects of a split where bad ones are skipped.
        repeats: see :data:`Action`.
        decoded: the folder of :class:`alpl.data.decoded_images.DecodedImages`.
    """

    bad: Bad = "error"
    verify_images: bool = False
    cache_bytes: int = 0
    max_megapixels: float = 100.0
    allow_lost: tuple[str, ...] = ()
    repeats: Action = "warn"
    decoded: str | None = None

    def check(self) -> None:
        """Raise a ConfigError where a value is out of range."""
        if self.bad not in get_args(Bad):
            raise ConfigError(f"bad must be one of {', '.join(get_args(Bad))}, got {self.bad!r}")
        if self.repeats not in get_args(Action):
            raise ConfigError(f"repeats must be one of {', '.join(get_args(Action))}, got {self.repeats!r}")
        if self.cache_bytes < 0:
            raise ConfigError(f"cache_bytes must be >= 0, got {self.cache_bytes}")
        if not self.max_megapixels > 0:
            raise ConfigError(f"max_megapixels must be > 0, got {self.max_megapixels!r}")


class AbstractAnnotatedFiles(AbstractDetectionSource):
    """A detection data set of image files with annotations, which are checked when they are read.

    Args:
        bad: what is done about bad annotations; see :data:`Bad`.
        verify_images: decode every image before training, so that files which broke off are named then and not in the
            middle of a fit; else only their headers are read. A file that has not changed is decoded once.
        cache_bytes: budget for decoded images; see :class:`alpl.data.image_files.ImageFiles`.
        max_megapixels: an image with more is a problem: a file of kilobytes may decode to gigabytes.
        allow_lost: classes that may lose all their objects of a split where ``bad`` skips them, or have none to be
            trained on where it skips boxes of unknown classes; for others that is an error of its own.
        repeats: what is done about images with the same bytes; see :data:`Action`.
        decoded: folder where it is noted which images were decoded, for other processes; None for this one alone.
        outside: read files that the annotations, or lists, name outside of their folder (absolute paths, ``../``).

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        *,
        bad: Bad = "error",
        verify_images: bool = False,
        cache_bytes: int = 0,
        max_megapixels: float = 100.0,
        allow_lost: Sequence[str] = (),
        repeats: Action = "warn",
        outside: bool = False,
        decoded: str | None = None,
    ) -> None:
        self.outside = outside
        self.policy = Policy(bad, verify_images, cache_bytes, max_megapixels, tuple(allow_lost), repeats, decoded)
        self.policy.check()
