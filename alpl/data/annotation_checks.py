"""The checks that a data set's annotations must pass before any training.

Axes: N images, I boxes of all images.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch

from alpl.boxes.objects import DetectionSplits
from alpl.data.annotations import NUM_ALIKE, NUM_NAMED, Action, Annotations, Bad, Policy, Problem
from alpl.data.checked_split import CheckedSplit
from alpl.data.repeats import find_repeats
from alpl.errors import DataError
from alpl.machine.processes import rank
from alpl.machine.terminal import printable


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
    checked = [CheckedSplit(split, classes, policy) for split in (train, test)]
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
