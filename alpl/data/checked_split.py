"""A split's annotations with all that is wrong with them, and what is left where that is skipped.

Axes: N images, I boxes of all images, K classes.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import final

import numpy as np
import torch

from alpl.boxes.objects import NO_CLASS, Objects, ObjectTable
from alpl.data.annotations import NUM_NAMED, SLACK, Annotations, Bad, Policy, Problem
from alpl.data.decoded_images import DecodedImages
from alpl.data.image_files import ImageFiles, is_sideways, of_files, read_size, stamp
from alpl.errors import DataError
from alpl.machine.processes import rank


@final
class CheckedSplit:
    """A split with all that is wrong with it.

    ``sizes`` is ``Int64[N 2]`` (0 where unknown), ``boxes`` ``Float32[I 4]`` within the images, ``labels``
    ``Int64[I]`` (-1 where unknown, and of regions to be ignored), ``strange`` the names of unknown classes by the
    positions of their boxes.
    """

    def __init__(self, split: Annotations, classes: Sequence[str], policy: Policy) -> None:
        self.split = split
        self.names = tuple(classes)
        self.row = np.array(split.row, dtype=np.int64)
        self.sizes = np.zeros((len(split.names), 2), dtype=np.int64)
        self._check_images(policy)
        label_of = {name: label for label, name in enumerate(classes)}
        self.labels = np.array([label_of.get(name, NO_CLASS) for name in split.classes], dtype=np.int64)
        self.labels[list(split.regions)] = NO_CLASS
        self._check_boxes()

    def _check_images(self, policy: Policy) -> None:
        split = self.split
        rows = [row for row in range(len(split.names)) if row not in split.refused]
        paths = [split.paths[row] for row in rows]
        decoded = DecodedImages(policy.decoded, paths) if policy.verify_images else None
        found = of_files(partial(_read_size, decoded=decoded, max_megapixels=policy.max_megapixels), paths)
        if decoded is not None:
            decoded.save()
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
        expected = self.split.box_faults.keys() | self.split.regions
        strange = [box for box in (self.labels < 0).nonzero()[0].tolist() if box not in expected]
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
            objects = np.ones(len(self.row), dtype=bool)
            objects[list(self.split.regions)] = False
            chosen = (self.row[objects], self.row[objects & bad_boxes])
            counts = [np.bincount(rows, minlength=len(out)) for rows in chosen]
            out |= (counts[0] > 0) & (counts[0] == counts[1])
        return out

    def check_floor(self, name: str, kept: np.ndarray, policy: Policy) -> None:
        """Make sure that skipping leaves something of the split, and of each of its classes.

        Difficult objects do not count: they are neither trained on nor asked for in the test.

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
        self._check_classes(name, counts, good & counts, policy)

    def _check_classes(self, name: str, counts: np.ndarray, good: np.ndarray, policy: Policy) -> None:
        """Check each class: ``counts`` (``Bool[I]``) says which objects do, ``good`` which of them are left.

        A class that never had an object is said of the split that is trained on alone.
        """
        written, left = (Counter(self.split.classes[box] for box in of.nonzero()[0].tolist()) for of in (counts, good))
        gone = [each for each in self.names if not left[each] and each not in policy.allow_lost]
        for lost in gone:
            if written[lost]:
                raise DataError(
                    f"{name}: class {lost!r} loses all {written[lost]} objects of the {self.split.split} split "
                    f"(bad={policy.bad}); data.source.allow_lost=[{lost}] goes on without them"
                )
        if not gone or not len(counts) or self.split.split != "train":
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
        levels = torch.from_numpy(np.array(self.split.levels, dtype=np.uint8)[order])
        objects = Objects(
            torch.from_numpy(self.boxes[order]),
            torch.from_numpy(self.labels[order]),
            torch.from_numpy(np.array(self.split.difficult, dtype=np.bool_)[order]),
            levels if bool(levels.any()) else None,
        )
        return ObjectTable(objects, torch.from_numpy(counts[kept] if only else counts))


def _read_size(path: str, decoded: DecodedImages | None, max_megapixels: float) -> tuple[int, int] | str:
    """Read a file's size; decode it, too, where ``decoded`` is given and lacks it."""
    before, is_new = stamp(path), decoded is not None and path not in decoded
    size = read_size(path, decode=is_new, max_megapixels=max_megapixels)
    if decoded is not None and is_new and not isinstance(size, str):
        decoded.add(path, before)
    return size


def _with_image(split: Annotations, row: int) -> str:
    """Name the file of a box, and its image where one file holds many."""
    file, name = split.files[row], split.names[row]
    return file if Path(file).stem == Path(name).stem else f"{file}, image {name}"
