"""What a reader finds in the annotations of a split, and the checks that it must pass before any training.

Axes: N images, I boxes of all images.
"""

from __future__ import annotations

import logging
import os
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, final, get_args

import numpy as np
import torch

from alpl.boxes.objects import AbstractDetectionSource, DetectionSplits, Objects, ObjectTable
from alpl.data.image_files import ImageFiles, is_sideways, of_files, read_size, stamp
from alpl.data.repeats import find_repeats
from alpl.errors import ConfigError, DataError
from alpl.machine.processes import rank
from alpl.machine.terminal import printable

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
    """A split as its files say it; a reader fills it image by image, :func:`make_splits` checks it.

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
        self, row: int, box: Sequence[float], name: str, *, difficult: bool = False, fault: str | None = None
    ) -> None:
        """Add a box of image ``row``: xyxy as written and the name of its class, or what is wrong with it."""
        if fault is not None:
            self.box_faults[len(self.row)] = fault
        self.row.append(row)
        self.written.extend(box)
        self.classes.append(name)
        self.difficult.append(difficult)

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
        allow_lost: classes that may lose all their training objects where bad ones are skipped.
        repeats: see :data:`Action`.
    """

    bad: Bad = "error"
    verify_images: bool = False
    cache_bytes: int = 0
    max_megapixels: float = 100.0
    allow_lost: tuple[str, ...] = ()
    repeats: Action = "warn"

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
            middle of a fit; else only their headers are read. A process decodes a file once, however many runs it does.
        cache_bytes: budget for decoded images; see :class:`alpl.data.image_files.ImageFiles`.
        max_megapixels: an image with more is a problem: a file of kilobytes may decode to gigabytes.
        allow_lost: classes that may lose all their training objects where ``bad`` skips them, or have none where it
            skips boxes of unknown classes; for others that is an error of its own.
        repeats: what is done about images with the same bytes; see :data:`Action`.
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
    ) -> None:
        self.outside = outside
        self.policy = Policy(bad, verify_images, cache_bytes, max_megapixels, tuple(allow_lost), repeats)
        self.policy.check()


def make_splits(
    name: str, train: Annotations, test: Annotations, classes: Sequence[str], policy: Policy
) -> DetectionSplits:
    """Check two splits and make a data set of them.

    A training image that is left out keeps its position, without objects, and is listed in ``excluded``; a test image
    that is left out is removed.

    Args:
        name: of the data set, for messages.
        train: its images' positions become the dataset indices.
        test: the held-out images.
        classes: names of the K classes, in the order of the labels.
        policy: what is done about problems.

    Raises:
        DataError: there are problems and they are not to be skipped, a split is empty, or nothing is left of it.
    """
    for split in (train, test):
        if not split.names:
            raise DataError(f"{name}: the {split.split} split lists no image")
    _find_repeats(name, train, test, policy.repeats)
    checked = [_Checked(split, classes, policy) for split in (train, test)]
    _judge(name, [problem for each in checked for problem in each.problems()], policy.bad)
    left_out = [each.left_out(policy.bad) for each in checked]
    for split, out in zip((train, test), left_out, strict=True):
        if out.all():
            raise DataError(f"{name}: every image of the {split.split} split has a problem, so that none is left")
    for each, out in zip(checked, left_out, strict=True):
        each.check_floor(name, ~out, policy)
    pool = checked[0].images(np.ones(len(train.names), dtype=bool), policy.cache_bytes)
    rest = policy.cache_bytes - min(policy.cache_bytes, 3 * int(pool.sizes.prod(1).sum()))
    return DetectionSplits(
        pool,
        checked[0].objects(~left_out[0]),
        checked[1].images(~left_out[1], rest),
        checked[1].objects(~left_out[1], only=True),
        tuple(classes),
        torch.from_numpy(left_out[0].nonzero()[0]),
    )


def _judge(name: str, problems: list[Problem], bad: Bad) -> None:
    """Raise an error that names the problems, or log that they are skipped."""
    if not problems:
        return
    log = logging.getLogger("alpl")
    lines = [printable(line).replace("\n", "\\n") for line in _lines(problems)]  # names may hold anything
    if rank() == 0 and (bad != "error" or len(lines) > NUM_NAMED):
        log.warning("\n  ".join([f"{name}: {len(problems)} problems with images or boxes ({bad}):", *lines]))
    if bad == "error":
        rest = f"; and {len(lines) - NUM_NAMED} more, all of them in the log" if len(lines) > NUM_NAMED else ""
        raise DataError(
            f"{name}: {len(problems)} problems with images or boxes: {'; '.join(lines[:NUM_NAMED])}{rest} "
            "(bad=skip_boxes or bad=skip_images goes on without them)"
        )


def _lines(problems: list[Problem]) -> list[str]:
    """Write a line a problem; boxes of one unknown class, and what is wrong with many files alike, share one.

    It stands at the place of the first.
    """
    counts = Counter(problem.unknown_class for problem in problems)
    alike: dict[str, list[str]] = {}
    for problem in problems:
        alike.setdefault(problem.what, []).append(problem.file)
    lines: dict[int | str, str] = {}
    for number, problem in enumerate(problems):
        name, files = problem.unknown_class, alike[problem.what]
        if name is not None and counts[name] > 1:
            what = f"{counts[name]} boxes are of the unknown class {name!r}, the first in {problem.file}"
            lines.setdefault(name, what)
        elif len(files) > NUM_ALIKE:
            shown = ", ".join(list(dict.fromkeys(files))[:NUM_ALIKE])
            lines.setdefault(problem.what, f"{len(files)} times, in {shown} and others: {problem.what}")
        else:
            lines[number] = str(problem)
    return list(lines.values())


def _find_repeats(name: str, train: Annotations, test: Annotations, repeats: Action) -> None:
    """Note images that are listed twice in a split, and training images that are test images too.

    A file is the same through symbolic links, too. What only has the same bytes is told, or noted as well.
    """
    images = [(split, row) for split in (train, test) for row in range(len(split.names))]
    refused = {at for at, (split, row) in enumerate(images) if row in split.refused}
    found = find_repeats([split.paths[row] for split, row in images], refused)
    for group in found.files:
        _note_repeats([images[at] for at in group], _listed_again)
    copies = [[images[at] for at in group] for group in found.copies]
    if repeats == "error":
        for each in copies:
            _note_repeats(each, _same_bytes)
    elif copies and rank() == 0:
        both = sum(len({split.split for split, _ in each}) > 1 for each in copies)
        shown = [" = ".join(split.paths[row] for split, row in each) for each in copies[:NUM_NAMED]]
        rest = f"; and {len(copies) - NUM_NAMED} more" if len(copies) > NUM_NAMED else ""
        logging.getLogger("alpl").warning(
            "%s: images with the same bytes (%d, of which %d in %s and in %s): %s%s",
            *(name, len(copies), both, train.split, test.split, "; ".join(shown), rest),
        )


_Image: TypeAlias = "tuple[Annotations, int]"  # a split and a position in it


def _note_repeats(images: list[_Image], what: Callable[[_Image, _Image], str]) -> None:
    """Note what is wrong with images that are alike: of a split all but the first, and who trains on a test image."""
    tested = [image for image in images if image[0] is images[-1][0]]
    trained = images[: len(images) - len(tested)]
    for one in (trained, tested):
        for split, row in one[1:]:
            split.fault(row, split.paths[row], what(one[0], (split, row)))
    for split, row in trained:
        split.fault(row, split.paths[row], what(tested[0], (split, row)))


def _listed_again(first: _Image, again: _Image) -> str:
    other, path = first[0].paths[first[1]], again[0].paths[again[1]]
    link = "" if other == path else f", as {other}"
    if first[0] is again[0]:
        return f"listed twice in {first[0].split}, as images {first[1]} and {again[1]}{link}"
    return f"listed in {again[0].split} and in {first[0].split}{link}"


def _same_bytes(first: _Image, again: _Image) -> str:
    return f"has the same bytes as {first[0].paths[first[1]]} in {first[0].split}"


@final
class _Checked:
    """A split with all that is wrong with it.

    ``sizes`` is ``Int64[N 2]`` (0 where unknown), ``boxes`` ``Float32[I 4]`` within the images, ``labels``
    ``Int64[I]`` (-1 where unknown), ``strange`` the names of unknown classes by the positions of their boxes.
    """

    def __init__(self, split: Annotations, classes: Sequence[str], policy: Policy) -> None:
        self.split = split
        self.names = tuple(classes)
        self.row = np.array(split.row, dtype=np.int64)
        self.sizes = np.zeros((len(split.names), 2), dtype=np.int64)
        self._check_images(policy)
        label_of = {name: label for label, name in enumerate(classes)}
        self.labels = np.array([label_of.get(name, -1) for name in split.classes], dtype=np.int64)
        self._check_boxes()

    def _check_images(self, policy: Policy) -> None:
        split = self.split
        rows = [row for row in range(len(split.names)) if row not in split.refused]
        found = of_files(partial(_read_size, policy=policy), [split.paths[row] for row in rows])
        for row, size in zip(rows, found, strict=True):
            stated = split.stated_sizes[row]
            if isinstance(size, str):
                split.fault(row, split.paths[row], size)
                continue
            self.sizes[row] = size
            if stated is not None and stated != size:
                what = f"has {size[1]} x {size[0]} pixels, but {stated[1]} x {stated[0]} in {split.files[row]}"
                if stated == size[::-1] and is_sideways(split.paths[row]):
                    what += ": EXIF turns it, and the boxes are of the image before the turn"
                split.fault(row, split.paths[row], what)

    def _check_boxes(self) -> None:
        """Note bad boxes, each with the first thing that is wrong, and clip the others."""
        written = np.array(self.split.written, dtype=np.float64).reshape(-1, 4)
        moved = written + np.repeat(self.split.shift, 2)
        ends = np.tile(self.sizes[self.row][:, ::-1], 2).astype(np.float64)
        known = ends.min(axis=1) > 0
        self.boxes = np.where(known[:, None], np.clip(moved, 0, ends), moved).astype(np.float32)
        outside = known & ((moved < -SLACK) | (moved > ends + SLACK)).any(1)
        for what, wrong in (
            ("has numbers that are not finite", ~np.isfinite(written).all(1)),
            ("has no area", ~(written[:, 2:] > written[:, :2]).all(1)),
            ("lies outside the image", outside),
            ("has no area within the image", ~(self.boxes[:, 2:] > self.boxes[:, :2]).all(1)),
        ):
            for box in wrong.nonzero()[0].tolist():
                self.split.box_faults.setdefault(box, self._describe(box, written[box], what))
        strange = [box for box in (self.labels < 0).nonzero()[0].tolist() if box not in self.split.box_faults]
        self.strange = {box: self.split.classes[box] for box in strange}
        for box in strange:
            self.split.box_faults[box] = self._describe(box, written[box], "is of an unknown class")

    def _describe(self, box: int, written: np.ndarray, what: str) -> str:
        numbers = ", ".join(f"{number:g}" for number in written)
        height, width = self.sizes[self.row[box]]
        image = f" (image of {width} x {height} pixels)" if height else ""
        return f"the {self.split.classes[box]!r} box ({numbers}) {what}{image}"

    def problems(self) -> list[Problem]:
        """Give all problems, in the order of the images, those of an image before those of its boxes."""
        split = self.split
        listed = [(row, problem) for row, faults in split.image_faults.items() for problem in faults]
        listed += [
            (int(self.row[box]), Problem(_with_image(split, int(self.row[box])), what, self.strange.get(box)))
            for box, what in sorted(split.box_faults.items())
        ]
        return [*split.stray_faults, *(problem for _, problem in sorted(listed, key=lambda pair: pair[0]))]

    def left_out(self, bad: Bad) -> np.ndarray:
        """``Bool[N]``: the images that are not used."""
        out = np.zeros(len(self.split.names), dtype=bool)
        out[list(self.split.image_faults)] = True
        bad_boxes = np.zeros(len(self.row), dtype=bool)
        bad_boxes[list(self.split.box_faults)] = True
        if bad == "skip_images":
            out[self.row[bad_boxes]] = True
        else:  # an image that loses all its boxes is not one without objects
            counts = [np.bincount(rows, minlength=len(out)) for rows in (self.row, self.row[bad_boxes])]
            out |= (counts[0] > 0) & (counts[0] == counts[1])
        return out

    def check_floor(self, name: str, kept: np.ndarray, policy: Policy) -> None:
        """Make sure that skipping leaves something of the split, and of each class that is trained on.

        Difficult objects do not count: they are not trained on.

        Raises:
            DataError: it does not.
        """
        split = self.split
        good = kept[self.row]
        good[list(split.box_faults)] = False
        counts = np.array(split.difficult, dtype=np.uint8) == 0
        for which, among in (("", np.ones_like(counts)), (" that are not difficult", counts)):
            if among.any() and not good[among].any():
                raise DataError(
                    f"{name}: no object is left in the {split.split} split: all {among.sum()}{which} have problems "
                    f"(bad={policy.bad})"
                )
        if not len(good) and rank() == 0:
            logging.getLogger("alpl").warning("%s: the annotations of the %s split hold no object", name, split.split)
        if split.split == "train":
            self._check_classes(name, counts, good & counts, policy)

    def _check_classes(self, name: str, counts: np.ndarray, good: np.ndarray, policy: Policy) -> None:
        """Check each class: ``counts`` (``Bool[I]``) says which objects do, ``good`` which of them are left."""
        written, left = (Counter(self.split.classes[box] for box in of.nonzero()[0].tolist()) for of in (counts, good))
        gone = [each for each in self.names if not left[each] and each not in policy.allow_lost]
        for lost in gone:
            if written[lost]:
                raise DataError(
                    f"{name}: class {lost!r} loses all {written[lost]} objects of the {self.split.split} split "
                    f"(bad={policy.bad}); data.source.allow_lost=[{lost}] goes on without them"
                )
        if not gone or not len(counts):
            return
        classes = ", ".join(map(repr, gone[:NUM_NAMED]))
        classes += f" and {len(gone) - NUM_NAMED} more" if len(gone) > NUM_NAMED else ""
        without = f"{name}: no object of the {self.split.split} split that is not difficult is of class {classes}"
        skipped = Counter(strange for strange in self.strange.values() if strange)
        if skipped:  # other spellings of the class, perhaps
            shown = ", ".join(f"{number} of {strange!r}" for strange, number in skipped.most_common(NUM_NAMED))
            raise DataError(
                f"{without}, and boxes of unknown classes are skipped: {shown} (bad={policy.bad}); "
                f"data.source.allow_lost=[{','.join(gone)}] goes on"
            )
        if rank() == 0:
            logging.getLogger("alpl").warning("%s", without)

    def images(self, kept: np.ndarray, cache_bytes: int) -> ImageFiles:
        """Give the images where ``kept`` (``Bool[N]``)."""
        rows, split = kept.nonzero()[0].tolist(), self.split
        names, paths = [split.names[row] for row in rows], [split.paths[row] for row in rows]
        refused = [position for position, row in enumerate(rows) if row in split.refused]
        return ImageFiles(names, paths, torch.from_numpy(self.sizes[kept]), cache_bytes, refused)

    def objects(self, kept: np.ndarray, *, only: bool = False) -> ObjectTable:
        """Give the good boxes where ``kept`` (``Bool[N]``), none for other images; ``only`` the images kept."""
        good = kept[self.row]
        good[list(self.split.box_faults)] = False
        order = good.nonzero()[0][np.argsort(self.row[good], kind="stable")]
        counts = np.bincount(self.row[order], minlength=len(kept))
        objects = Objects(
            torch.from_numpy(self.boxes[order]),
            torch.from_numpy(self.labels[order]),
            torch.from_numpy(np.array(self.split.difficult, dtype=np.bool_)[order]),
        )
        return ObjectTable(objects, torch.from_numpy(counts[kept] if only else counts))


_decoded: set[tuple[str, int, int]] = set()
"""Files that were decoded, with their bytes and time stamps: the runs of a sweep need not do it again."""


def _read_size(path: str, policy: Policy) -> tuple[int, int] | str:
    known = (path, *stamp(path))
    size = read_size(path, decode=policy.verify_images and known not in _decoded, max_megapixels=policy.max_megapixels)
    if policy.verify_images and not isinstance(size, str):
        _decoded.add(known)
    return size


def _with_image(split: Annotations, row: int) -> str:
    """Name the file of a box, and its image where one file holds many."""
    file, name = split.files[row], split.names[row]
    return file if Path(file).stem == Path(name).stem else f"{file}, image {name}"
