"""Images in memory that come more than once, with the same bytes: in a split, or in training and test.

Axes: N images.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from alpl.data.sets import Splits
from alpl.errors import DataError
from alpl.machine.processes import rank

Action: TypeAlias = Literal["error", "warn"]
_SAMPLED = 64  # bytes of an image by which it is first told from others
_NUM_NAMED = 10  # groups that a message names
_NUM_SHOWN = 5  # images of a group that it names

Image: TypeAlias = "tuple[str, int]"  # a split and a position in it


def repeated_images(splits: Splits) -> list[list[Image]]:
    """Group the images that have the same bytes; training images that take no part are left out.

    Few are read whole: those that agree in 64 bytes, spread over the image. Memory: these bytes, and a digest of each
    image that is read.
    """
    took_part = torch.ones(len(splits.train), dtype=torch.bool)
    if splits.excluded is not None:
        took_part[splits.excluded] = False
    parts = (
        ("train", splits.train, took_part.nonzero().flatten()),
        ("test", splits.test, torch.arange(len(splits.test))),
    )
    images = [(split, row) for split, _, rows in parts for row in rows.tolist()]
    samples = [row for _, of, rows in parts for row in _samples(of.images, rows)]
    return _alike(splits, images, samples)


def tell_repeats(name: str, splits: Splits, repeats: Action) -> None:
    """Warn of images that come more than once, or refuse them.

    Args:
        name: of the data set.
        splits: as they were read.
        repeats: what is done.

    Raises:
        DataError: there are some, and ``repeats`` is "error".
    """
    if repeats == "warn" and rank() != 0:
        return
    groups = repeated_images(splits)
    if not groups:
        return
    both = sum(len({split for split, _ in group}) > 1 for group in groups)
    shown = "; ".join(" = ".join(_named(group)) for group in groups[:_NUM_NAMED])
    rest = f"; and {len(groups) - _NUM_NAMED} more" if len(groups) > _NUM_NAMED else ""
    text = f"{name}: images with the same bytes ({len(groups)}, of which {both} in train and in test): {shown}{rest}"
    if repeats == "error":
        raise DataError(f"{text}; data.repeats=warn goes on with them")
    logging.getLogger("alpl").warning("%s", text)


def _named(group: list[Image]) -> list[str]:
    named = [f"{split} {row}" for split, row in group[:_NUM_SHOWN]]
    return [*named, f"{len(group) - _NUM_SHOWN} more"] if len(group) > _NUM_SHOWN else named


def _samples(images: Tensor, rows: Tensor) -> list[bytes]:
    """Give the shape and 64 bytes of each image, or fewer of smaller ones."""
    flat = images.flatten(1)
    places = torch.linspace(0, flat.shape[1] - 1, min(_SAMPLED, flat.shape[1])).long()
    shape = str(list(images.shape[1:])).encode()
    return [shape + row.tobytes() for row in flat[:, places][rows].numpy()]


def _alike(splits: Splits, images: list[Image], samples: list[bytes]) -> list[list[Image]]:
    """Divide images by their samples, then those of equal ones by all their bytes."""
    by_sample: dict[bytes, list[Image]] = {}
    for image, sample in zip(images, samples, strict=True):
        by_sample.setdefault(sample, []).append(image)
    found: dict[bytes, list[Image]] = {}
    for group in by_sample.values():
        for split, row in group if len(group) > 1 else ():
            whole = (splits.train if split == "train" else splits.test).images[row]
            found.setdefault(hashlib.sha256(whole.contiguous().numpy().data).digest(), []).append((split, row))
    return [group for group in found.values() if len(group) > 1]
