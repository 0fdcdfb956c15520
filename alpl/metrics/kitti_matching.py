"""Which detections of an image find which objects, by KITTI's rules (its development kit, ``evaluate_object.cpp``).

Axes: D detections and G objects of one image, R its regions to be ignored, T least scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

NUM_POINTS = 41  # recalls 0, 1/40, ... 1


class Scene(NamedTuple):
    """An image as one class at one level sees it.

    Args:
        scores: ``Float64[D]`` of the detections of the class, and of all that are too low.
        low: ``Bool[D]``: lower than the level asks for, and so neither right nor wrong, of whatever class.
        overlaps: ``Float64[G D]``: intersection over union with the objects of the class and its neighbors.
        ignored: ``Bool[G]``: beyond the level, or of a neighbor; who finds them is neither right nor wrong.
        in_region: ``Bool[D]``: whether a detection lies in a region to be ignored.
    """

    scores: npt.NDArray[np.float64]
    low: npt.NDArray[np.bool_]
    overlaps: npt.NDArray[np.float64]
    ignored: npt.NDArray[np.bool_]
    in_region: npt.NDArray[np.bool_]


def found_scores(scene: Scene, iou_thresh: float) -> list[float]:
    """Give the score at which each object is found first: each takes the free detection of highest score.

    Overlaps must be above ``iou_thresh``. Objects that are ignored, or that take a low detection, give none.
    """
    free = np.ones(len(scene.scores), dtype=bool)
    found = []
    for overlaps, ignored in zip(scene.overlaps, scene.ignored, strict=True):
        hits = free & (overlaps > iou_thresh)
        if not hits.any():
            continue
        chosen = int(np.where(hits, scene.scores, -np.inf).argmax())  # the first of equals
        free[chosen] = False
        if not (ignored or scene.low[chosen]):
            found.append(float(scene.scores[chosen]))
    return found


def count_hits(scene: Scene, iou_thresh: float, least: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Count right and wrong detections among those whose score is at least ``least`` (``Float64[T]``).

    Each object, in their order, takes the free detection that overlaps it most (the first of equals), or else the first
    low one. What is left is wrong, but for low ones and those in a region.

    Returns:
        ``Int64[2 T]``.
    """
    free = scene.scores >= least[:, None]  # [T D]
    right = np.zeros(len(least), dtype=np.int64)
    if not len(scene.scores):
        return np.stack([right, right])
    rows = np.arange(len(least))
    for overlaps, ignored in zip(scene.overlaps, scene.ignored, strict=True):
        above = overlaps > iou_thresh
        if not above.any():
            continue
        hits = free & above
        full = hits & ~scene.low
        is_found, is_right = hits.any(1), full.any(1)
        chosen = np.where(is_right, np.where(full, overlaps, -1.0).argmax(1), hits.argmax(1))
        free[rows[is_found], chosen[is_found]] = False
        right += is_right & (not ignored)
    return np.stack([right, (free & ~scene.low & ~scene.in_region).sum(1)])


def recall_scores(scores: Sequence[float], num_objects: int) -> npt.NDArray[np.float64]:
    """Choose the scores, at most 41, at which recall comes nearest to 0, 1/40, ... 1; ``scores`` of found objects."""
    ordered = sorted(scores, reverse=True)
    chosen: list[float] = []
    recall = 0.0
    for number, score in enumerate(ordered, 1):
        is_last = number == len(ordered)
        here, after = number / num_objects, (number + 1) / num_objects
        if not is_last and after - recall < recall - here:
            continue
        chosen.append(score)
        recall += 1 / (NUM_POINTS - 1)
    return np.array(chosen[:NUM_POINTS])


def precisions(scenes: Sequence[Scene], iou_thresh: float) -> npt.NDArray[np.float64] | None:
    """Give the best precision from each of 41 recalls on, ``Float64[41]``; None where no object counts."""
    num_objects = sum(int((~scene.ignored).sum()) for scene in scenes)
    if not num_objects:
        return None
    scores = [score for scene in scenes for score in found_scores(scene, iou_thresh)]
    least = recall_scores(scores, num_objects)
    right, wrong = sum((count_hits(scene, iou_thresh, least) for scene in scenes), np.zeros((2, len(least)), np.int64))
    reached = np.zeros(NUM_POINTS)
    reached[: len(least)] = right / np.maximum(right + wrong, 1)
    best: npt.NDArray[np.float64] = np.maximum.accumulate(reached[::-1])[::-1]
    return best
