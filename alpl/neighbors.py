"""Distances between feature vectors, and k-center greedy on them.

Axes: U candidates, L centers, F features, b picks.
"""

from __future__ import annotations

import torch
from torch import Tensor


def squared_distance_to_nearest(features: Tensor, centers: Tensor, *, block: int = 4096) -> Tensor:
    """``Float[U]``: squared Euclidean distance of each row of ``features`` to its nearest row of ``centers``.

    Blocked matrix products in float64, O(U L F) time and O(block (block + F)) memory beside the inputs; infinite
    where there is no center. The products cancel: of two points at distance d from each other and r from the origin
    float32 leaves nothing where d < 3e-4 r, while the rounding of float64 is below what float32 inputs can differ by.
    Rounding below zero is clipped.

    Args:
        features: ``Float[U F]``.
        centers: ``Float[L F]``.
        block: rows and columns of a block.
    """
    nearest = features.new_full((len(features),), torch.inf, dtype=torch.float64)
    for start in range(0, len(features), block):
        part = features[start : start + block].double()
        norms = part.square().sum(1)
        for column in range(0, len(centers), block):
            others = centers[column : column + block].double()
            squared = (norms[:, None] + others.square().sum(1)).addmm_(part, others.T, alpha=-2)
            nearest[start : start + block] = torch.minimum(nearest[start : start + block], squared.amin(1))
    return nearest.clamp_(min=0).to(features.dtype)


def _squared_distance(features: Tensor, point: Tensor, *, block: int = 512) -> Tensor:
    """``Float[U]``: squared distances to one point by differences, which do not cancel; blocks stay in the cache."""
    rows = block if features.device.type == "cpu" else max(len(features), 1)
    return torch.cat([(part - point).square_().sum(1) for part in features.split(rows)])


def kcenter_greedy(features: Tensor, centers: Tensor, budget: int) -> tuple[Tensor, Tensor]:
    r"""Farthest-first traversal: k-center greedy (Sener and Savarese 2018, Algorithm 1).

    .. math:: u = \arg\max_{i} \min_{j \in s} \lVert x_i - x_j \rVert_2

    where s holds the centers and the picks so far. First index on ties; with no center at all the first pick is
    index 0. O(U (L + b) F) time, O(U + block (block + F)) memory beside the features. Inputs are held in float32.

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
    largest = max((float(part.abs().max()) for part in (features, centers) if part.numel()), default=0.0)
    if largest * max(features.shape[1], 1) ** 0.5 > 1e18:  # 2 F largest^2, the largest squared distance, must be finite
        raise ValueError(f"features and centers must be below 1e18 / sqrt(F), got {largest}")
    nearest = squared_distance_to_nearest(features, centers)
    picks = torch.empty(budget, dtype=torch.long, device=features.device)
    distances = features.new_empty(budget)
    for step in range(budget):
        pick = int(nearest.argmax())  # the first of equal maxima
        picks[step] = pick
        distances[step] = nearest[pick].sqrt()
        nearest = torch.minimum(nearest, _squared_distance(features, features[pick]))
        nearest[pick] = -1.0  # below every distance from now on: never again, even among duplicates
    if not len(centers) and budget:
        distances[0] = 0.0
    return picks, distances
