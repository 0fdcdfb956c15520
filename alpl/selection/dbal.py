r"""Diverse mini-batches (DBAL, Zhdanov 2019): weighted k-means on the most informative candidates.

Axes: U candidates, F features, k = b clusters.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from alpl.selection.feature_spaces import check_features
from alpl.selection.neighbors import nearest_center, weighted_kmeans

_LEAST_WEIGHT = 1e-6  # of the largest: a cluster without any weight has no mean


def diverse_mini_batch(
    features: Tensor, informativeness: Tensor, budget: int, *, prefilter: float, seed: int, iterations: int = 20
) -> Tensor:
    r"""``Long[b]``: candidates that are informative, and spread as the informative ones are (Zhdanov 2019, Alg. 1).

    1. Keep the :math:`\beta b` most informative candidates, first index on ties.
    2. Cluster them into b clusters by k-means weighted with the informativeness s,
       :math:`\min_\mu \sum_i s_i \min_j \lVert x_i - \mu_j \rVert^2`.
    3. Take the candidate nearest to each center, first index on ties. The paper wants b different ones: each center
       takes from its own cluster. Clusters that are empty (equal candidates) leave places; the most informative of
       those left get them.

    O(``iterations`` beta b^2 F) time; O(beta b F) memory.

    Args:
        features: ``Float[U F]``.
        informativeness: ``Float[U]``, not negative.
        budget: b.
        prefilter: beta, at least 1; the paper has 10 and 50. Infinity keeps all.
        seed: of the start of k-means.
        iterations: of k-means, at most.

    Returns:
        The picks, most informative first.

    Raises:
        ValueError: shapes do not fit, a value is not finite, too large to be squared or negative, or an argument is out
            of range.
    """
    _check(features, informativeness, budget, prefilter, iterations)
    device, number = features.device, len(features)
    if not budget:
        return torch.empty(0, dtype=torch.long, device=device)
    ranked = torch.argsort(informativeness.double(), descending=True, stable=True)
    kept = ranked[: math.ceil(min(prefilter * budget, number))].sort().values
    if len(kept) == budget:
        chosen = torch.ones(budget, dtype=torch.bool, device=device)
    else:
        weights = informativeness[kept].double()
        weights = weights / weights.max() if float(weights.max()) > 0 else torch.ones_like(weights)
        points = features[kept].float()
        centers = weighted_kmeans(points, weights.clamp(min=_LEAST_WEIGHT), budget, seed=seed, iterations=iterations)
        chosen = _nearest_of_each(points, centers)
        left = ranked[(torch.isin(ranked, kept[~chosen])).nonzero().flatten()]
        chosen |= torch.isin(kept, left[: budget - int(chosen.sum())])
    picks = torch.zeros(number, dtype=torch.bool, device=device)
    picks[kept[chosen]] = True
    return ranked[picks[ranked]]


def _nearest_of_each(points: Tensor, centers: Tensor) -> Tensor:
    """``Bool[n]``: the points that are the nearest of their cluster to its center; one for each cluster with points."""
    cluster, squared = nearest_center(points, centers)
    least = torch.full((len(centers),), math.inf, dtype=torch.float64, device=points.device)
    least.scatter_reduce_(0, cluster, squared, "amin")
    position = torch.arange(len(points), device=points.device)
    first = torch.full((len(centers),), len(points), device=points.device)
    nearest = squared == least[cluster]
    first.scatter_reduce_(0, cluster[nearest], position[nearest], "amin")
    return position == first[cluster]


def _check(features: Tensor, informativeness: Tensor, budget: int, prefilter: float, iterations: int) -> None:
    number = len(features)
    if features.ndim != 2 or informativeness.shape != (number,):
        shapes = f"{list(features.shape)} and {list(informativeness.shape)}"
        raise ValueError(f"features and informativeness must be [U F] and [U], got {shapes}")
    check_features(features, features[:0])  # faiss ends the process where squared distances overflow
    if not bool(informativeness.isfinite().all()):
        raise ValueError("informativeness must be finite, got NaN or infinite values")
    if number and float(informativeness.min()) < 0:
        raise ValueError(f"informativeness must not be negative, got {float(informativeness.min())}")
    if not 0 <= budget <= number:
        raise ValueError(f"budget must be in [0, {number}] candidates, got {budget}")
    if not prefilter >= 1 or iterations < 1:
        raise ValueError(f"prefilter and iterations must be at least 1, got {prefilter} and {iterations}")
