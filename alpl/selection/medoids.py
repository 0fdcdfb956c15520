r"""Representative images by their similarities alone: k-center start and refinement of medoids (PPAL sec. 3.3).

Axes: N images, b medoids.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from alpl.selection.blocks import MEMORY_LIMIT, rows_per_block

Ties: TypeAlias = Literal["own", "as_released"]


def kcenter_of_similarities(similarity: Tensor, budget: int, first: int) -> Tensor:
    r"""Greedy solution of :math:`\min_{|Q|=b} \max_{i,j \in Q} S_{ij}` (PPAL Eq. 8, "k-Center-Greedy").

    .. math:: u = \arg\min_{i \notin s} \max_{j \in s} S_{ij}

    First index on ties. The picks are exactly those of the obvious algorithm on the matrix as it is given. O(N b) time,
    O(N) memory.

    Args:
        similarity: ``Float[N N]``, symmetric.
        budget: b.
        first: the first pick, which the equation leaves open; the released code draws it.

    Returns:
        ``Long[b]`` in the order of the picks.

    Raises:
        ValueError: the matrix is not square or not finite, or ``budget`` or ``first`` is out of range.

    >>> similarity = torch.tensor([[2.0, 1.9, 0.1], [1.9, 2.0, 0.2], [0.1, 0.2, 2.0]])
    >>> kcenter_of_similarities(similarity, 2, first=1)
    tensor([1, 2])
    """
    number = _checked(similarity, budget)
    picks = torch.empty(budget, dtype=torch.long, device=similarity.device)
    if not budget:
        return picks
    check_first(first, number)
    closest = torch.full((number,), -torch.inf, dtype=similarity.dtype, device=similarity.device)
    pick = torch.tensor(first, device=similarity.device)
    for step in range(budget):
        picks[step] = pick
        torch.maximum(closest, similarity[pick], out=closest)
        closest[pick] = torch.inf  # never again, even among duplicates
        pick = closest.argmin()  # the first of equal minima
    return picks


def refine_medoids(
    similarity: Tensor,
    medoids: Tensor,
    *,
    iterations: int = 100,
    ties: Ties = "own",
    memory_limit: int = MEMORY_LIMIT,
) -> Tensor:
    r"""Move medoids to the middle of their clusters (PPAL sec. 3.3, "k-means++" started from the k-centers).

    .. math::
        k(i) = \arg\max_k S_{i, m_k}, \qquad m_k = \arg\max_{i: k(i) = k} \sum_{j: k(j) = k} S_{ij}

    again and again: each image joins the medoid to which it is most similar, and "the images whose summed similarities
    to other images in their cluster are maximised" become the medoids. First medoid and first image on ties. Stops
    early where nothing changes any more. Sums are in float64.

    No cluster is ever empty: a medoid is in its own cluster, as it is no more similar to any other.

    O(N b + sum of squared cluster sizes) an iteration, of which only clusters that changed are summed again.

    Args:
        similarity: ``Float[N N]``, symmetric, with the largest values on its diagonal.
        medoids: ``Long[b]`` different images to start from.
        iterations: at most so many.
        ties: ``own``: a medoid that equals another stays in its own cluster. ``as_released``: it joins the first of
            them like any image. The released code stops with an error where a cluster loses all its images that way;
            here its medoid then returns to it.
        memory_limit: bytes that may be taken beside the matrix.

    Returns:
        ``Long[b]`` different images, in the order of the clusters.

    Raises:
        ValueError: the matrix is not square or not finite, medoids repeat or lie outside it, or an option is wrong.

    >>> similarity = torch.tensor([[2.0, 1.5, 1.0], [1.5, 2.0, 1.5], [1.0, 1.5, 2.0]])
    >>> refine_medoids(similarity, torch.tensor([0]))
    tensor([1])
    """
    number = _checked(similarity, len(medoids))
    check_medoids(medoids, number)
    check_refinement(iterations, ties)
    medoids = medoids.clone()
    last = torch.full((number,), -1, dtype=torch.long, device=similarity.device)
    for _ in range(iterations if len(medoids) else 0):
        cluster = _joined(similarity, medoids, ties, memory_limit)
        moved = cluster != last
        if not bool(moved.any()):
            break
        changed = torch.cat([cluster[moved], last[moved]]).unique()
        for k in changed[changed >= 0].tolist():
            medoids[k] = _center(similarity, (cluster == k).nonzero().flatten(), memory_limit)
        last = cluster
    return medoids


def represented(similarity: Tensor, medoids: Tensor, *, memory_limit: int = MEMORY_LIMIT) -> Tensor:
    """``Float64[b]``: the summed similarities of each medoid to the other images of its cluster."""
    if not len(medoids):
        return torch.zeros(0, dtype=torch.float64, device=similarity.device)
    cluster = _joined(similarity, medoids, "own", memory_limit)
    of_own = similarity[torch.arange(len(cluster), device=cluster.device), medoids[cluster]].double()
    of_own[medoids] = 0.0
    return of_own.new_zeros(len(medoids)).index_add_(0, cluster, of_own)


def _joined(similarity: Tensor, medoids: Tensor, ties: Ties, memory_limit: int) -> Tensor:
    """``Long[N]``: the cluster of each image."""
    number, device = len(similarity), similarity.device
    cluster = torch.zeros(number, dtype=torch.long, device=device)
    most = torch.full((number,), -torch.inf, dtype=similarity.dtype, device=device)
    rows = rows_per_block(memory_limit, max(number, 1) * similarity.element_size())
    for start in range(0, len(medoids), rows):
        found = similarity[medoids[start : start + rows]].max(0)  # rows for columns: the matrix is symmetric
        better = found.values > most  # an equal one of an earlier block stays
        cluster = torch.where(better, found.indices + start, cluster)
        most = torch.where(better, found.values, most)
    return settled(cluster, medoids, ties)


def settled(cluster: Tensor, medoids: Tensor, ties: Ties) -> Tensor:
    """Give medoids back to their own clusters, in place: all of them, or those whose cluster would be empty.

    Args:
        cluster: ``Long[N]``, -1 for images in none.
        medoids: ``Long[b]``.
        ties: see :func:`refine_medoids`.
    """
    own = torch.arange(len(medoids), device=medoids.device)
    if ties == "own":
        cluster[medoids] = own
        return cluster
    while bool((empty := torch.bincount(cluster[cluster >= 0], minlength=len(medoids)) == 0).any()):
        cluster[medoids[empty]] = own[empty]
    return cluster


def _center(similarity: Tensor, members: Tensor, memory_limit: int) -> int:
    """The member with the largest summed similarity to the others."""
    sums = []
    for part in members.split(rows_per_block(memory_limit, 13 * len(members))):  # float32, float64 and a mask
        among = similarity[part[:, None], members].double()
        sums.append(among.masked_fill_(part[:, None] == members, 0.0).sum(1))
    return int(members[torch.cat(sums).argmax()])


def _checked(similarity: Tensor, budget: int) -> int:
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1]:
        raise ValueError(f"similarity must be Float[N N], got shape {list(similarity.shape)}")
    number = len(similarity)
    check_budget(budget, number)
    if number and not all(math.isfinite(value) for value in similarity.aminmax()):  # NaN shows in both; without a copy
        raise ValueError("similarity must be finite, got NaN or infinite values")
    return number


def check_budget(budget: int, number: int) -> None:
    """Make sure that so many of ``number`` images can be chosen."""
    if not 0 <= budget <= number:
        raise ValueError(f"budget must be in [0, {number}] images, got {budget}")


def check_first(first: int, number: int) -> None:
    """Make sure that the first pick is one of ``number`` images."""
    if not 0 <= first < number:
        raise ValueError(f"first must be in [0, {number}), got {first}")


def check_medoids(medoids: Tensor, number: int) -> None:
    """Make sure that they are different ones of ``number`` images."""
    if len(medoids) != len(medoids.unique()) or bool(((medoids < 0) | (medoids >= number)).any()):
        raise ValueError(f"medoids must be different images in [0, {number}), got {medoids.tolist()[:10]}")


def check_refinement(iterations: int, ties: Ties) -> None:
    """Make sure that the options of a refinement are known."""
    if iterations < 0:
        raise ValueError(f"iterations must be >= 0, got {iterations}")
    if ties not in ("own", "as_released"):
        raise ValueError(f"ties must be own or as_released, got {ties!r}")
