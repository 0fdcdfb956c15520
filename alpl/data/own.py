"""Images of one's own, of which only some have annotations: those are labeled, all others are the pool.

Where there is no test set, a share of the labeled images is held out for one, and that is said.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from alpl.boxes.objects import DetectionSplits
from alpl.data.annotation_checks import make_splits
from alpl.data.annotations import Annotations, Policy
from alpl.data.voc import SUFFIXES
from alpl.errors import ConfigError, DataError
from alpl.machine.processes import rank
from alpl.machine.seeding import generator

TEST_SHARE = 0.2


def check_share(share: float) -> None:
    """Raise a ConfigError where a share of images to be held out is none."""
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        raise ConfigError(f"data.source.test_share must lie in (0, 1), got {share!r}")


def images_below(folder: Path) -> list[Path]:
    """List the image files of a folder and all below it, sorted; hidden ones are none.

    Raises:
        DataError: there is no such folder, or a folder below it is a link, which is not followed.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder of images")
    for place, folders, _ in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if links := sorted(name for name in folders if Path(place, name).is_symlink()):
            raise DataError(f"{Path(place, links[0])}: is a link to a folder, which is not followed: move it here")
    found = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def held_out(groups: Sequence[Sequence[int]], share: float, seed: int, name: str) -> list[int]:
    """Draw test images out of the labeled ones, of each group its share, at least one; one stays.

    Args:
        groups: positions of labeled images, by class where images have one.
        share: of each group, rounded.
        seed: of the draw. It is not the run's: all runs are tested on the same images.
        name: of the data, for messages.

    Raises:
        DataError: there is nothing to draw.
    """
    drawn: list[int] = []
    random = generator(seed, "own test")
    for group in groups:
        number = min(max(round(len(group) * share), 1), len(group) - 1)
        order = torch.randperm(len(group), generator=random).tolist()
        drawn += [group[place] for place in order[: max(number, 0)]]
    total = sum(map(len, groups))
    if not drawn:
        raise DataError(
            f"{name}: {total} labeled images are too few to hold out a test set: label some more, or give one"
        )
    say(f"{name}: there is no test set: {len(drawn)} of {total} labeled images are held out for one")
    return sorted(drawn)


def say(line: str) -> None:
    """Tell a person what was done with the data, once for all processes."""
    if rank() == 0:
        logging.getLogger("alpl").warning("%s", line)


def make_own_splits(
    name: str,
    train: Annotations,
    labeled: Sequence[int],
    test: Annotations | None,
    classes: Sequence[str],
    policy: Policy,
    *,
    share: float,
    seed: int,
) -> DetectionSplits:
    """Check annotations and make a data set of them in which only some images are labeled.

    Args:
        name: of the data, for messages.
        train: all images but the test set's.
        labeled: positions of those that have annotations, ascending.
        test: None to hold some out.
        classes: names of the K classes.
        policy: what is done about problems.
        share: of the labeled images to be held out.
        seed: of that draw.

    Raises:
        DataError: no image is labeled, or see :func:`alpl.data.annotation_checks.make_splits`.
    """
    if not labeled or not classes:
        faults = [problem for row in sorted(train.image_faults) for problem in train.image_faults[row]]
        why = f" ({faults[0]})" if faults else ""
        raise DataError(
            f"{name}: {len(train.names)} images, and none has annotations: label a few, of each class, first{why}"
        )
    taken: set[int] = set()
    if test is None:
        taken = set(held_out([labeled], share, seed, name))
        test = part_of(train, sorted(taken), "test")
    kept = [row for row in range(len(train.names)) if row not in taken]
    position = {row: place for place, row in enumerate(kept)}
    splits = make_splits(name, part_of(train, kept, "train"), test, classes, policy)
    annotated = torch.tensor([position[row] for row in labeled if row in position], dtype=torch.long)
    if splits.excluded is not None:
        annotated = annotated[~torch.isin(annotated, splits.excluded)]
    if not len(annotated):
        raise DataError(f"{name}: no labeled image is left to be trained on")
    say(f"{name}: {len(annotated)} labeled images, {len(kept) - len(annotated)} others are the pool")
    return replace(splits, annotated=annotated)


def part_of(split: Annotations, rows: Sequence[int], name: str) -> Annotations:
    """Give some images of a split, with all that is known of them."""
    part = Annotations(name, split.shift, split.outside)
    new = {row: part.add_image(*_image(split, row)) for row in rows}
    for row, at in new.items():
        if row in split.image_faults:
            part.image_faults[at] = list(split.image_faults[row])
        if row in split.refused:
            part.refused.add(at)
    written = np.array(split.written, dtype=np.float64).reshape(-1, 4)
    for box, row in enumerate(split.row):
        if row in new:
            fault, marks = split.box_faults.get(box), (bool(split.difficult[box]), split.levels[box])
            add = {"difficult": marks[0], "level": marks[1], "fault": fault}
            part.add_box(new[row], written[box].tolist(), split.classes[box], **add)  # type: ignore[arg-type]
    if name != "test":  # of no image, and so of one of the two parts alone
        part.stray_faults = list(split.stray_faults)
    return part


def no_box() -> list[float]:
    """Give what stands for a box that cannot be read."""
    return [math.nan] * 4


def _image(split: Annotations, row: int) -> tuple[str, str, str, tuple[int, int] | None]:
    return split.names[row], split.paths[row], split.files[row], split.stated_sizes[row]
