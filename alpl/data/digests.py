"""Digests of the parts of a data set, for its fingerprint.

Axes: N images.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from alpl.boxes.objects import AbstractDetectionImages, Objects, ObjectTable
from alpl.data.image_files import ImageFiles
from alpl.runs.fingerprint import CONTENTS, PIXELS, TIMES, Part


def part_of(count: int, *values: Tensor | Sequence[Any]) -> Part:
    """Give the part that consists of tensors, and of lists of what JSON has."""
    digest = hashlib.sha256()
    for value in values:
        _add(digest, value if isinstance(value, Tensor) else json.dumps(list(value)))
    return Part(count, digest.hexdigest())


def objects_part(objects: Sequence[Objects]) -> Part:
    """Give the part that annotations are: boxes, labels, marks, levels where there are, and of which image each is."""
    if not isinstance(objects, ObjectTable):
        counts = torch.tensor([len(each) for each in objects], dtype=torch.long)
        objects = ObjectTable(_joined(objects), counts)
    flat = objects.objects
    levels = [flat.levels] if bool(flat.levels.any()) else []
    return part_of(len(flat), objects.counts, flat.boxes, flat.labels, flat.difficult, *levels)


def scenes_parts(split: str, images: AbstractDetectionImages, *, by_content: bool) -> dict[str, Part]:
    """Give the parts that the images of a split are, by name.

    Files are told by names, sizes and time stamps, a second for 100,000 of them, and where asked by what they hold;
    images that are no files are read.
    """
    number = len(images)
    parts = {f"{split} images": part_of(number, images.names, images.sizes)}
    if not isinstance(images, ImageFiles):
        return parts | {PIXELS.format(split): _pixels(number, (images[index] for index in range(number)))}
    lengths, times = images.stamps().unbind(1)
    parts |= {f"{split} files": part_of(number, lengths), TIMES.format(split): part_of(number, times)}
    return parts | {CONTENTS.format(split): part_of(number, images.contents())} if by_content else parts


def _pixels(number: int, images: Iterable[Tensor]) -> Part:
    digest = hashlib.sha256()
    for image in images:
        _add(digest, image)
    return Part(number, digest.hexdigest())


def _add(digest: Any, value: Tensor | str) -> None:
    if isinstance(value, str):
        digest.update(f"{len(value)}{value}".encode())
    else:
        digest.update(f"{value.dtype}{list(value.shape)}".encode())
        plain = value.clone(
            memory_format=torch.contiguous_format
        )  # a column of one row counts as contiguous, and is not
        digest.update(plain.view(torch.uint8).numpy().data if value.numel() else b"")


def _joined(objects: Sequence[Objects]) -> Objects:
    every = [Objects.none(), *objects]
    boxes, labels, difficult, levels = (
        torch.cat([getattr(each, name) for each in every]) for name in ("boxes", "labels", "difficult", "levels")
    )
    return Objects(boxes, labels, difficult, levels)
