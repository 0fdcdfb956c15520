"""Nearest centers and k-means; the one place that imports faiss.

Axes: U candidates, L centers, F features, k clusters.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from alpl.blocks import MEMORY_LIMIT, rows_per_block

try:  # an extra: alpl[cpu] or alpl[gpu]
    import faiss
except ImportError:
    faiss = None  # type: ignore[assignment]

log = logging.getLogger(__name__)


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


def nearest_center(features: Tensor, centers: Tensor, *, memory_limit: int = MEMORY_LIMIT) -> tuple[Tensor, Tensor]:
    """``Long[U]``, ``Float64[U]``: which center is nearest, and its squared distance; first index on ties.

    Blocked matrix products in float64, as in :func:`squared_distance_to_nearest`.

    Args:
        features: ``Float[U F]``.
        centers: ``Float[L F]``, L at least 1.
        memory_limit: bytes for the blocks, beside the centers in float64.
    """
    others = centers.double()
    norms = others.square().sum(1)
    index = torch.empty(len(features), dtype=torch.long, device=features.device)
    squared = torch.empty(len(features), dtype=torch.float64, device=features.device)
    size = rows_per_block(memory_limit, 8 * (2 * len(centers) + 3 * features.shape[1]))
    for start in range(0, len(features), size):
        part = features[start : start + size].double()
        found = torch.addmm(norms, part, others.T, alpha=-2).min(1)
        index[start : start + size] = found.indices
        squared[start : start + size] = found.values + part.square().sum(1)
    return index, squared.clamp_(min=0)


def weighted_kmeans(features: Tensor, weights: Tensor, num_clusters: int, *, seed: int, iterations: int = 20) -> Tensor:
    r"""``Float[k F]``: centers that about minimize :math:`\sum_i w_i \min_j \lVert x_i - \mu_j \rVert^2`.

    faiss where it is installed, scikit-learn otherwise; their centers differ, as they start differently. The log says
    which one it was.

    Args:
        features: ``Float[U F]``.
        weights: ``Float[U]``, positive.
        num_clusters: k, at most U.
        seed: of the start.
        iterations: of Lloyd's algorithm, at most.
    """
    points = np.ascontiguousarray(features.detach().cpu().numpy(), dtype=np.float32)
    mass = np.ascontiguousarray(weights.detach().cpu().numpy(), dtype=np.float32)
    if faiss is None:
        log.info("k-means by scikit-learn, as faiss is not installed (pip install alpl[cpu] or alpl[gpu])")
        estimator = KMeans(num_clusters, n_init=1, max_iter=iterations, random_state=seed)
        centers = estimator.fit(points, sample_weight=mass).cluster_centers_
    else:
        log.info("k-means by faiss %s", faiss.__version__)
        # every point counts: faiss would otherwise take 256 for each cluster, and warn below 39
        options = {"max_points_per_centroid": len(points), "min_points_per_centroid": 1}
        estimator = faiss.Kmeans(points.shape[1], num_clusters, niter=iterations, seed=seed, **options)
        estimator.train(points, weights=mass)
        centers = estimator.centroids
    return torch.from_numpy(np.asarray(centers, dtype=np.float32)).to(features.device)
