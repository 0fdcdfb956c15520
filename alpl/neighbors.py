"""Distances between feature vectors, and k-center greedy on them.

Axes: U candidates, L centers, F features, b picks.
"""

from __future__ import annotations

import torch
from torch import Tensor


def squared_distance_to_nearest(features: Tensor, centers: Tensor, *, block: int = 4096) -> Tensor:
    """``Float[U]``: squared Euclidean distance of each row of ``features`` to its nearest row of ``centers``.

    Blocked matrix products, O(U L F) time and O(block^2) memory beside the inputs; infinite where there is no
    center. Rounding below zero is clipped.

    Args:
        features: ``Float[U F]``.
        centers: ``Float[L F]``.
        block: rows and columns of a block.
    """
    nearest = features.new_full((len(features),), torch.inf)
    center_norms = centers.square().sum(1)
    for rows in torch.arange(len(features), device=features.device).split(block):
        part = features[rows]
        norms = part.square().sum(1)
        for columns in range(0, len(centers), block):
            chosen = slice(columns, columns + block)
            squared = (norms[:, None] + center_norms[chosen]).addmm_(part, centers[chosen].T, alpha=-2)
            nearest[rows] = torch.minimum(nearest[rows], squared.amin(1))
    return nearest.clamp_(min=0)


def kcenter_greedy(features: Tensor, centers: Tensor, budget: int) -> tuple[Tensor, Tensor]:
    r"""Farthest-first traversal: k-center greedy (Sener and Savarese 2018, Algorithm 1).

    .. math:: u = \arg\max_{i} \min_{j \in s} \lVert x_i - x_j \rVert_2

    where s holds the centers and the picks so far. First index on ties; with no center at all the first pick is
    index 0. O(U (L + b) F) time, O(U + block^2) memory beside the features. Inputs are held in float32.

    Args:
        features: ``Float[U F]`` candidates.
        centers: ``Float[L F]``, L may be 0.
        budget: b.

    Returns:
        ``Long[b]`` picks in order, and ``Float[b]`` the distance to the nearest center at which each was picked
        (infinite for a first pick without centers is reported as 0, as it has no neighbor).

    Raises:
        ValueError: ``budget`` exceeds U, the widths differ, or a value is not finite.

    >>> kcenter_greedy(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[0.0]]), 2)
    (tensor([2, 1]), tensor([5., 1.]))
    """
    if features.ndim != 2 or centers.ndim != 2 or features.shape[1] != centers.shape[1]:
        raise ValueError(
            f"features and centers must be [U F] and [L F], got {list(features.shape)} and {list(centers.shape)}"
        )
    if not 0 <= budget <= len(features):
        raise ValueError(f"budget must be in [0, {len(features)}] candidates, got {budget}")
    if not (features.isfinite().all() and centers.isfinite().all()):
        raise ValueError("features and centers must be finite, got NaN or infinite values")
    features, centers = features.float(), centers.float()
    nearest = squared_distance_to_nearest(features, centers)
    norms = features.square().sum(1)
    picks = torch.empty(budget, dtype=torch.long, device=features.device)
    distances = features.new_empty(budget)
    for step in range(budget):
        pick = int(nearest.argmax())  # the first of equal maxima
        picks[step] = pick
        distances[step] = nearest[pick].sqrt()
        squared = (norms + norms[pick] - 2 * (features @ features[pick])).clamp_(min=0)
        nearest = torch.minimum(nearest, squared)
        nearest[picks[: step + 1]] = -1.0  # never again, even among duplicates
    if not len(centers) and budget:
        distances[0] = 0.0
    return picks, distances
