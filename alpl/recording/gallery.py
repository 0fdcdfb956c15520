"""Galleries: the first images of a query as small pictures, with what the model found on them and why they were chosen.

Axes: I instances (detections) of all unlabeled images, b images of the query, D detections of one image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from alpl.acquisition.base import Query
from alpl.boxes.objects import AbstractDetectionImages
from alpl.errors import ConfigError
from alpl.machine.files import whole_folder, write_json
from alpl.predictions import UNCERTAINTIES, Predictions

LONGEST_SIDE = 320
"""Pixels of a picture's longer side; smaller images stay as they are."""
JPEG_QUALITY = 85


def record_gallery(
    folder: Path,
    query: Query,
    predictions: Predictions,
    images: AbstractDetectionImages,
    classes: Sequence[str],
    *,
    limit: int,
) -> None:
    """Write the first ``limit`` queried images and ``gallery.json``, the folder whole or not at all.

    The JSON holds for each image its file, dataset index, name, rank, utility, size and detections: box (xyxy, pixels
    of the original image), label, score, value in the acquisition (null where it did not count), and whether it
    decided, which is the one of highest value. Only the rows of these images are read, so predictions may be
    memory-mapped.

    Args:
        folder: the folder to make, or to replace.
        query: as the acquisition gave it, with ``object_utility`` where it values objects.
        predictions: of the unlabeled images, with boxes, labels and scores.
        images: the training images.
        classes: names of the K foreground classes.
        limit: images at most.

    Raises:
        ConfigError: ``limit`` is below 1.
        ValueError: predictions lack a field or a queried image, or ``object_utility`` does not fit them.
    """
    if limit < 1:
        raise ConfigError(f"limit must be >= 1, got {limit}")
    chosen, utility = query.index[:limit].tolist(), query.utility[:limit].tolist()
    _check(predictions, query)
    uncertainties = None if predictions.uncertainties is None else _Uncertainties(predictions.uncertainties, query)
    with whole_folder(folder) as temporary:
        entries = []
        for rank, (index, value) in enumerate(zip(chosen, utility, strict=True)):
            height, width = images.sizes[index].tolist()
            entry = {"file": f"{rank:03d}.jpg", "index": index, "name": images.names[index], "rank": rank}
            entry |= {"utility": value, "width": width, "height": height}
            entry["detections"] = _detections(predictions, index, query.object_utility, uncertainties)
            entries.append(entry)
            _save_small(images[index], temporary / f"{rank:03d}.jpg")
        about: dict[str, Any] = {"num_queried": query.index.numel(), "classes": list(classes), "images": entries}
        about["values_objects"] = query.object_utility is not None
        write_json(temporary / "gallery.json", about, indent=None)  # thousands of detections


def _check(predictions: Predictions, query: Query) -> None:
    missing = [name for name in ("boxes", "labels", "scores") if getattr(predictions, name) is None]
    if missing:
        raise ValueError(f"predictions must have boxes, labels and scores for a gallery, {', '.join(missing)} missing")
    if query.object_utility is not None and query.object_utility.shape != predictions.row.shape:
        shape = list(query.object_utility.shape)
        raise ValueError(f"object_utility must be Float[{len(predictions.row)}], one an instance, got shape {shape}")


class _Uncertainties:
    """The four uncertainties of AL-MDN, which say nothing without those of other detections."""

    def __init__(self, values: Tensor, query: Query) -> None:
        self.values = values
        counted = values if query.object_utility is None else values[~query.object_utility.isnan()]
        self.others = [column[~column.isnan()].sort().values for column in (counted if len(counted) else values).T]

    def of(self, here: slice) -> list[dict[str, dict[str, float]]]:
        """Give for each of these instances the value and the share below it of each that is known."""
        found: list[dict[str, dict[str, float]]] = [{} for _ in self.values[here]]
        for name, column, others in zip(UNCERTAINTIES, self.values[here].T.contiguous(), self.others, strict=True):
            below = torch.searchsorted(others, column).tolist()
            for entry, value, number in zip(found, column.tolist(), below, strict=True):
                if not math.isnan(value) and len(others):
                    entry[name] = {"value": value, "share": round(number / len(others), 4)}
        return found


def _detections(
    predictions: Predictions, index: int, object_utility: Tensor | None, uncertainties: _Uncertainties | None
) -> list[dict[str, Any]]:
    """Give the detections of one image, in the order of the predictions."""
    assert predictions.boxes is not None and predictions.labels is not None and predictions.scores is not None
    found = (predictions.index == index).nonzero().flatten()
    if len(found) != 1:
        raise ValueError(f"predictions must hold image {index} once, got it {len(found)} times")
    row = found.to(predictions.row)
    start, stop = (int(torch.searchsorted(predictions.row, row, right=right)) for right in (False, True))
    here = slice(start, stop)
    values = [math.nan] * (stop - start) if object_utility is None else object_utility[here].tolist()
    counted = [value for value in values if not math.isnan(value)]
    decided = values.index(max(counted)) if counted else None
    known = [None] * (stop - start) if uncertainties is None else uncertainties.of(here)
    fields = zip(
        predictions.boxes[here].tolist(),
        predictions.labels[here].tolist(),
        predictions.scores[here].tolist(),
        values,
        known,
        strict=True,
    )
    return [
        {
            "box": [round(edge, 2) for edge in box],
            "label": label,
            "score": score,
            "value": None if math.isnan(value) else value,
            "decided": place == decided,
            **({} if four is None else {"uncertainties": four}),
        }
        for place, (box, label, score, value, four) in enumerate(fields)
    ]


def _save_small(image: Tensor, path: Path) -> None:
    """``UInt8[3 H W]`` -> a JPEG of at most 320 pixels a side."""
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    picture.save(path, "JPEG", quality=JPEG_QUALITY, subsampling=0)
