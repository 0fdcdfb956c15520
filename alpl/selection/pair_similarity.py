"""Category-conditioned matching similarity of some pairs of images (PPAL Eq. 6, 7), without the matrix of all.

Axes: N images, I objects over all of them, P pairs, F features.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from alpl.selection.object_match import LARGEST, unit_vectors
from alpl.selection.objects import Objects


def score_shares(objects: Objects) -> Tensor:
    """``Float32[I]``: each object's share of the scores of its image; 0 where they sum to 0."""
    total = torch.zeros(objects.num_images, dtype=torch.float64).index_add_(0, objects.row, objects.scores.double())
    shares = objects.scores.double() / total[objects.row]
    return torch.where(total[objects.row] > 0, shares, 0.0).float()


def finite_unit_vectors(values: Tensor) -> Tensor:
    """``Float32[m F]``: the directions of objects.

    Raises:
        ValueError: a value is not finite.
    """
    if not bool(values.sum(dtype=torch.float64).isfinite()) and not bool(values.isfinite().all()):
        raise ValueError("values must be finite, got NaN or infinite ones")
    return unit_vectors(values)


def pair_similarities(objects: Objects, first: Tensor, second: Tensor) -> Tensor:
    r"""Compare pairs of images by the cosines of their objects; see :func:`alpl.selection.ccms.ccms`.

    Class by class, and in a class image by image with all its pairs at once, so that only one class's vectors are in
    memory. On the CPU.

    Args:
        objects: of the images; those of a negative class do not count, and have score 0.
        first: ``Long[P]`` ascending.
        second: ``Long[P]`` other images than the first ones.

    Returns:
        ``Float32[P]`` in [0, 2].

    Raises:
        ValueError: a value is not finite.
    """
    found = np.zeros(len(first))
    shares, number = score_shares(objects).numpy(), objects.num_images
    starts = torch.searchsorted(first, torch.arange(number + 1)).tolist()
    others = second.numpy()
    for label in objects.labels.unique().tolist():
        if label < 0:
            continue
        instances = (objects.labels == label).nonzero().flatten()
        unit = finite_unit_vectors(objects.values[instances]).numpy()
        _add_class(found, unit, shares[instances.numpy()], objects.row[instances], number, starts, others)
    return torch.from_numpy(found / 2).float().clamp_(0, LARGEST)


def _add_class(
    found: np.ndarray,
    unit: np.ndarray,
    shares: np.ndarray,
    row: Tensor,
    number: int,
    starts: list[int],
    others: np.ndarray,
) -> None:
    """Add what the objects of a class add to S'(a, b) + S'(b, a), in place."""
    images, counts = (part.numpy() for part in torch.unique_consecutive(row, return_counts=True))
    begins = np.zeros(number, dtype=np.int64)
    lengths = np.zeros(number, dtype=np.int64)
    begins[images], lengths[images] = counts.cumsum() - counts, counts
    for image in images.tolist():
        pairs = slice(starts[image], starts[image + 1])
        theirs = lengths[others[pairs]]
        held = theirs.nonzero()[0]
        if not len(held):
            continue
        theirs = theirs[held]
        segments = theirs.cumsum() - theirs
        objects = np.arange(theirs.sum()) + (begins[others[pairs][held]] - segments).repeat(theirs)
        own = slice(begins[image], begins[image] + lengths[image])
        cosines = unit[own] @ unit[objects].T
        matches = np.clip(cosines + 1, 0, LARGEST, out=cosines)
        of_ours = shares[own] @ np.maximum.reduceat(matches, segments, axis=1)
        of_theirs = np.add.reduceat(matches.max(0) * shares[objects], segments)
        found[pairs][held] += of_ours + of_theirs
