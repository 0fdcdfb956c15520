"""The pairs of most similar images by CCMS (PPAL Eq. 6, 7), for pools whose matrix of all pairs is too large.

Axes: N images, I objects over all of them, P pairs, F features.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from alpl.selection.blocks import MEMORY_LIMIT
from alpl.selection.object_match import LARGEST
from alpl.selection.object_neighbors import NearestObjects
from alpl.selection.objects import Objects
from alpl.selection.pair_similarity import finite_unit_vectors, pair_similarities, score_shares
from alpl.selection.similarity_graph import SimilarityGraph, leading, nearest_graph

log = logging.getLogger(__name__)

_COMPARED = 2  # images whose similarity is computed, for each one that is kept


def ccms_graph(
    objects: Objects,
    *,
    neighbors: int = 64,
    matches: int = 32,
    recall: float = 1.0,
    memory_limit: int = MEMORY_LIMIT,
) -> SimilarityGraph:
    r"""Find the most similar images of each image, and their exact similarities.

    1. Of each object the nearest ``matches`` objects of its class, by faiss.
    2. For each image a, those b that its objects found, by what Eq. 7 can at most gain over objects that find nothing
       as near: :math:`\sum_i t_{a,i} (s_{ij} - s_{i,last}) / \sum_i t_{a,i}`; the best 2 ``neighbors`` of each image
       are candidates, and each image is one of its candidates.
    3. The similarity of these pairs by all their objects, so that a value that is held is that of the matrix up to
       rounding; each image keeps its best ``neighbors``.

    What is approximate is which pairs are held. Where ``matches`` covers each class and ``neighbors`` all images, all
    pairs with a class in common are; the others have similarity 0, as have images without objects. An image with few
    detections finds few images (``matches`` a detection): it may seem rarer than it is, which the log counts.

    On the CPU. Memory beside the values, which may be memory-mapped: 8 ``matches`` bytes an object, one class's
    vectors (twice, with cells), and about 100 ``neighbors`` bytes an image.

    Args:
        objects: the detections; those of a negative class do not count, and have score 0.
        neighbors: images that each image keeps.
        matches: objects that each object finds.
        recall: of the objects found; see :class:`alpl.selection.object_neighbors.NearestObjects`.
        memory_limit: bytes for a block of temporary values.

    Raises:
        ConfigError: faiss is not there.
        ValueError: an option is out of range, or a value is not finite.
    """
    if neighbors < 1 or matches < 1:
        raise ValueError(f"neighbors and matches must be >= 1, got {neighbors} and {matches}")
    if not 0 < recall <= 1:
        raise ValueError(f"recall must be in (0, 1], got {recall}")
    objects = Objects(
        objects.values.cpu(), objects.labels.cpu(), objects.scores.cpu(), objects.row.cpu(), objects.num_images
    )
    images, gains, complete = _found(objects, matches, recall, memory_limit)
    first, second = _candidates(objects, images, gains, _COMPARED * neighbors, memory_limit)
    del images, gains
    log.info("%d pairs of %d images are compared by all their objects", len(first), objects.num_images)
    similarities = pair_similarities(objects, first, second)
    graph = nearest_graph(first, second, similarities, objects.num_images, neighbors, complete)
    if few := int(((graph.starts.diff() < neighbors) & ~complete).sum()):
        log.warning(
            "%d of %d images are held with fewer than %d others, as their objects found no more: %s",
            few, objects.num_images, neighbors, "a larger value of matches finds more",
        )  # fmt: skip
    return graph


def _found(objects: Objects, matches: int, recall: float, memory_limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """Find the images of objects that are near to each object.

    Returns:
        ``Int[I matches]`` images, -1 for none; ``Float32[I matches]``, what they gain; and ``Bool[N]``, whether an
        image's objects found all of their classes.
    """
    complete = torch.ones(objects.num_images, dtype=torch.bool)
    images = torch.full((len(objects.row), matches), -1, dtype=torch.int32)
    gains = torch.zeros(len(objects.row), matches)
    shares = score_shares(objects)
    rows = max(memory_limit // (64 * matches), 1)
    for label in objects.labels.unique().tolist():
        if label < 0:
            continue
        instances = (objects.labels == label).nonzero().flatten()
        nearest = NearestObjects(finite_unit_vectors(objects.values[instances]), matches, recall)
        if nearest.number < len(instances) or nearest.has_cells:
            complete[objects.row[instances]] = False
        for start in range(0, len(instances), rows):
            part = instances[start : start + rows]
            found, cosines = nearest.of(slice(start, start + rows))
            similar = torch.where(found >= 0, cosines + 1, LARGEST).clamp_(0, LARGEST)
            # what an object that was not found can have at most; all are found where the class has no more
            rest = similar.amin(1, keepdim=True) if nearest.number < len(instances) else 0.0
            theirs, order = torch.where(found >= 0, objects.row[instances[found]], -1).sort(dim=1, stable=True)
            again = torch.zeros_like(theirs, dtype=torch.bool)
            again[:, 1:] = theirs[:, 1:] == theirs[:, :-1]  # the first of an image is the most similar one
            theirs[again | (theirs == objects.row[part][:, None])] = -1
            images[part, : nearest.number] = theirs.int()
            gains[part, : nearest.number] = shares[part][:, None] * (similar - rest).gather(1, order)
    return images, gains, complete


def _candidates(
    objects: Objects, images: Tensor, gains: Tensor, number: int, memory_limit: int
) -> tuple[Tensor, Tensor]:
    """``Long[P]``, ``Long[P]``: the pairs of each image with those that gain most, each once, ascending."""
    total = objects.num_images
    bounds = torch.searchsorted(objects.row, torch.arange(total + 1))
    rows = max(memory_limit // (100 * images.shape[1]), 1)  # objects of a block
    keys, start = [], 0
    while start < total:
        stop = int(torch.searchsorted(bounds, bounds[start] + rows, right=True)) - 1
        stop = min(max(stop, start + 1), total)
        part = slice(int(bounds[start]), int(bounds[stop]))
        there = images[part] >= 0
        ours = objects.row[part][:, None].expand_as(there)[there]
        pairs, place = torch.unique(ours * total + images[part][there], return_inverse=True)
        gained = torch.zeros(len(pairs), dtype=torch.float64).index_add_(0, place, gains[part][there].double())
        ours, theirs = pairs // total, pairs % total
        kept = leading(ours, theirs, gained, number)
        ours, theirs = ours[kept], theirs[kept]
        keys.append(torch.minimum(ours, theirs) * total + torch.maximum(ours, theirs))
        start = stop
    both = torch.cat(keys).unique() if keys else torch.zeros(0, dtype=torch.long)
    return both // max(total, 1), both % max(total, 1)
