r"""Representative images by the pairs of a graph: :mod:`alpl.selection.medoids` where the matrix is too large.

A pair that the graph does not hold counts as similarity 0. An image that is held with no medoid joins no cluster; the
first one where its floor says that it resembles none. Where the graph holds all pairs that have a similarity above 0,
the picks are those of the matrix.

Axes: N images, E held pairs (each in both directions), b medoids.
"""

from __future__ import annotations

import torch
from torch import Tensor

from alpl.selection.medoids import Ties, check_budget, check_first, check_medoids, check_refinement, settled
from alpl.selection.object_match import LARGEST
from alpl.selection.similarity_graph import SimilarityGraph


def kcenter_of_graph(graph: SimilarityGraph, budget: int, first: int) -> Tensor:
    r"""Pick the image that is least similar to all picks so far, again and again (PPAL Eq. 8).

    Images that are held with no pick come first, among them those with the lowest floor, which is the most that they
    can have in common with a pick. O(N b + E) time.

    Args:
        graph: of the images.
        budget: b.
        first: the first pick.

    Returns:
        ``Long[b]`` in the order of the picks; the first index on ties.

    Raises:
        ValueError: ``budget`` or ``first`` is out of range.
    """
    check_budget(budget, len(graph))
    picks = torch.empty(budget, dtype=torch.long, device=graph.floor.device)
    if not budget:
        return picks
    check_first(first, len(graph))
    closest = graph.floor - (LARGEST + 1)  # below all similarities, until held with a pick
    pick = first
    for step in range(budget):
        picks[step] = pick
        others, values = graph.row(pick)
        closest[others] = torch.maximum(closest[others], values)
        closest[pick] = torch.inf
        pick = int(closest.argmin())
    return picks


def refine_medoids_of_graph(
    graph: SimilarityGraph, medoids: Tensor, *, iterations: int = 100, ties: Ties = "own"
) -> Tensor:
    """Move medoids to the middle of their clusters: see :func:`alpl.selection.medoids.refine_medoids`.

    O(E + N) an iteration.

    Args:
        graph: of the images.
        medoids: ``Long[b]`` different images to start from.
        iterations: at most so many.
        ties: as there.

    Returns:
        ``Long[b]`` different images, in the order of the clusters.

    Raises:
        ValueError: medoids repeat or lie outside the graph, or an option is wrong.
    """
    check_medoids(medoids, len(graph))
    check_refinement(iterations, ties)
    medoids = medoids.clone()
    if not len(medoids):
        return medoids
    firsts = graph.firsts()
    last = torch.full_like(graph.floor, -2, dtype=torch.long)
    for _ in range(iterations):
        cluster = _joined(graph, firsts, medoids, ties)
        if torch.equal(cluster, last):
            break
        medoids = _centers(graph, firsts, cluster, len(medoids))
        last = cluster
    return medoids


def represented_of_graph(graph: SimilarityGraph, medoids: Tensor) -> Tensor:
    """``Float64[b]``: the summed similarities of each medoid to the other images of its cluster."""
    if not len(medoids):
        return torch.zeros(0, dtype=torch.float64, device=graph.floor.device)
    firsts = graph.firsts()
    cluster = _joined(graph, firsts, medoids, "own")
    held = (cluster[firsts] >= 0) & (graph.others == medoids[cluster[firsts]])
    held &= firsts != medoids[cluster[firsts]]
    sums = torch.zeros(len(medoids), dtype=torch.float64, device=graph.floor.device)
    return sums.index_add_(0, cluster[firsts[held]], graph.values[held].double())


def _joined(graph: SimilarityGraph, firsts: Tensor, medoids: Tensor, ties: Ties) -> Tensor:
    """``Long[N]``: the cluster of each image, -1 for those that are held with no medoid."""
    number, own = len(medoids), torch.arange(len(medoids), device=medoids.device)
    place = torch.full_like(graph.floor, number, dtype=torch.long)
    place[medoids] = own
    held = place[graph.others] < number
    images = torch.cat([firsts[held], medoids])  # a medoid is most similar to itself
    clusters = torch.cat([place[graph.others[held]], own])
    values = torch.cat([graph.values[held], graph.values.new_full((number,), LARGEST)])
    most = torch.full_like(graph.floor, -1).scatter_reduce(0, images, values, "amax")
    best = values == most[images]
    cluster = torch.full_like(place, number).scatter_reduce(0, images[best], clusters[best], "amin")
    alone = cluster == number
    cluster[alone] = torch.where(graph.floor[alone] > 0, -1, 0)  # similarity 0 to all is a tie: the first
    return settled(cluster, medoids, ties)


def _centers(graph: SimilarityGraph, firsts: Tensor, cluster: Tensor, number: int) -> Tensor:
    """``Long[b]``: the member of each cluster with the largest summed similarity to the others, the first on ties."""
    within = (cluster[firsts] == cluster[graph.others]) & (cluster[firsts] >= 0)
    sums = torch.zeros(len(graph), dtype=torch.float64, device=graph.floor.device)
    sums.index_add_(0, firsts[within], graph.values[within].double())
    members = (cluster >= 0).nonzero().flatten()
    of_members, values = cluster[members], sums[members]
    most = values.new_full((number,), -1).scatter_reduce(0, of_members, values, "amax")
    best = values == most[of_members]
    found = torch.full((number,), len(graph), device=members.device)
    return found.scatter_reduce(0, of_members[best], members[best], "amin")
