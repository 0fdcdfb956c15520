r"""TypiClust: the most typical images of the clusters that have no label yet (Hacohen, Dekel and Weinshall 2022).

Axes: U candidates, L labeled, N = U + L points, F features, b picks.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from alpl.selection.blocks import MEMORY_LIMIT
from alpl.selection.neighbors import nearest_center, weighted_kmeans
from alpl.selection.pairs import Points

Typicality: TypeAlias = Literal["as_written", "as_released"]
TYPICALITIES: tuple[str, ...] = get_args(Typicality)

_CLOSEST = 1e-12  # mean distance below which points are equal: a typicality must be finite


def typiclust(
    features: Tensor,
    labeled: Tensor,
    budget: int,
    *,
    seed: int,
    neighbors: int = 20,
    min_cluster_size: int = 5,
    max_clusters: int = 500,
    normalize: bool = True,
    typicality: Typicality = "as_written",
    memory_limit: int = MEMORY_LIMIT,
) -> tuple[Tensor, Tensor]:
    r"""Pick the most typical candidate of the clusters with the fewest labels (Hacohen et al. 2022, Algorithm 1).

    .. math:: \text{Typicality}(x) = \Big( \tfrac1K \sum_{x_i \in K\text{-NN}(x)} \lVert x - x_i \rVert_2 \Big)^{-1}

    1. Cluster all points, labeled ones too, by k-means into L + b clusters, at most ``max_clusters``.
    2. Again and again, of the clusters with the fewest labels and picks take the largest, then the first.
    3. Pick its most typical candidate, first index on ties.

    There are as many clusters without a label as there are picks, unless ``max_clusters`` keeps them fewer; then
    clusters come again. Clusters of at most ``min_cluster_size`` points come when no other has a candidate left.

    Args:
        features: ``Float[U F]``.
        labeled: ``Float[L F]``, L may be 0.
        budget: b.
        seed: of k-means.
        neighbors: K, 20 in the paper; in a smaller cluster all other members.
        min_cluster_size: 5 in the paper.
        max_clusters: 500 in the paper.
        normalize: scale the features to length 1, as the paper's are.
        typicality: ``as_written``: neighbors are among all members of the cluster. ``as_released``: among those without
            label, at most half of them, by squared distances.
        memory_limit: bytes for a block of distances, beside 16 N F.

    Returns:
        ``Long[b]`` picks in order, and ``Float64[b]`` their typicality, 0 for who is alone.

        O(20 N k F) time for k clusters and O(sum of the squares of their sizes F).

    Raises:
        ValueError: the widths differ, a value is not finite, or an argument is out of range.
    """
    _check(features, labeled, budget, neighbors, min_cluster_size, max_clusters, typicality)
    if not budget:
        return torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.float64)
    points = Points(torch.cat([features, labeled]).cpu(), normalize=normalize, memory_limit=memory_limit)
    number = min(len(labeled) + budget, max_clusters, len(points))
    cluster = _clusters(points.values.float(), number, seed)
    free = torch.arange(len(points)) < len(features)
    sizes = torch.bincount(cluster, minlength=number)
    taken = torch.bincount(cluster[~free], minlength=number)
    picks: list[int] = []
    values: list[float] = []
    for _ in range(budget):
        open_ = torch.bincount(cluster[free], minlength=number) > 0
        large = open_ & (sizes > min_cluster_size)
        order = [
            (int(taken[c]), -int(sizes[c]), c) for c in (large if bool(large.any()) else open_).nonzero()[:, 0].tolist()
        ]
        chosen = min(order)[2]
        pick, value = _most_typical(points, cluster == chosen, free, neighbors, typicality)
        picks.append(pick)
        values.append(value)
        free[pick] = False
        taken[chosen] += 1
    return torch.tensor(picks), torch.tensor(values, dtype=torch.float64)


def _clusters(values: Tensor, number: int, seed: int) -> Tensor:
    """``Long[N]``."""
    centers = weighted_kmeans(values, torch.ones(len(values)), number, seed=seed)
    return nearest_center(values, centers)[0]


def _most_typical(
    points: Points, members: Tensor, free: Tensor, neighbors: int, typicality: Typicality
) -> tuple[int, float]:
    """The candidate of a cluster whose nearest neighbors are closest on average, and its typicality."""
    candidates = (members & free).nonzero().flatten()
    others = members.nonzero().flatten() if typicality == "as_written" else candidates
    number = min(neighbors, len(others) - 1 if typicality == "as_written" else len(others) // 2)
    if not number:
        return int(candidates[0]), 0.0
    means = []
    for rows, squared in points.blocks(candidates, others):
        squared.masked_fill_(rows[:, None] == others, torch.inf)
        nearest = squared.topk(number, largest=False).values
        means.append((nearest.sqrt() if typicality == "as_written" else nearest).mean(1))
    mean = torch.cat(means)
    best = int(mean.float().argmin())  # neighbors of each other are equally far: what is beyond 24 digits is rounding
    return int(candidates[best]), 1 / max(float(mean[best]), _CLOSEST)


def _check(
    features: Tensor, labeled: Tensor, budget: int, neighbors: int, smallest: int, clusters: int, typicality: str
) -> None:
    if features.ndim != 2 or labeled.ndim != 2 or features.shape[1] != labeled.shape[1]:
        shapes = f"{list(features.shape)} and {list(labeled.shape)}"
        raise ValueError(f"features and labeled must be [U F] and [L F], got {shapes}")
    if not 0 <= budget <= len(features):
        raise ValueError(f"budget must be in [0, {len(features)}] candidates, got {budget}")
    if neighbors < 1 or clusters < 1 or smallest < 0:
        given = f"{neighbors}, {clusters} and {smallest}"
        raise ValueError(f"neighbors and max_clusters must be >= 1 and min_cluster_size >= 0, got {given}")
    if typicality not in TYPICALITIES:
        raise ValueError(f"typicality must be one of {', '.join(TYPICALITIES)}, got {typicality!r}")
