"""Nearest centers and k-means; the one place that imports faiss.

Axes: U candidates, L centers, F features, k clusters.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

import torch
from torch import Tensor

from alpl.selection.blocks import MEMORY_LIMIT, rows_per_block

try:  # an extra: alpl[cpu] or alpl[gpu]
    import faiss as faiss  # object_neighbors has it from here
except ImportError:
    faiss = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

_ROWS = 2048  # points at a time


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

    Lloyd's algorithm until no point changes its cluster, from k points drawn by scikit-learn's greedy k-means++: each
    is the best of 2 + log k drawn with probability proportional to what they add to the sum (Arthur and Vassilvitskii
    2007), so the sum is about scikit-learn's. Only the means of clusters that changed are new, and points of the other
    clusters are compared with those alone. An empty cluster gets one of the points that add most to the sum.

    On the CPU, where sums have a fixed order. The nearest centers are found by faiss where it is installed, which is up
    to twice as fast as the matrix products otherwise; the two may differ by rounding. The log says which one it was.

    O(U k F) time an iteration at most, O(U k F log k) for the start, O(U F) memory.

    Args:
        features: ``Float[U F]``.
        weights: ``Float[U]``, positive.
        num_clusters: k, at most U.
        seed: of the start, in [0, 2^32).
        iterations: of Lloyd's algorithm, at most.
    """
    from sklearn.cluster import kmeans_plusplus  # here: it takes a second to import

    points, mass = features.detach().cpu().float().contiguous(), weights.detach().cpu().double()
    log.info("k-means with %s", "matrix products" if faiss is None else f"faiss {faiss.__version__}")
    _, start = kmeans_plusplus(points.numpy(), num_clusters, sample_weight=mass.numpy(), random_state=seed)
    centers = points[torch.from_numpy(start).long()]
    cluster, squared = _nearest_in_float32(points, centers)
    changed = torch.ones(num_clusters, dtype=torch.bool)
    for _ in range(iterations):
        _fill_empty(cluster, mass * squared, changed)
        _set_means(centers, points, mass, cluster, changed)
        before = cluster.clone()
        _reassign(points, centers, cluster, squared, changed)
        moved = cluster != before
        if not bool(moved.any()):
            break
        changed.fill_(False)
        changed[torch.cat([cluster[moved], before[moved]])] = True
    return centers.to(features.device)


def _fill_empty(cluster: Tensor, parts: Tensor, changed: Tensor) -> None:
    """Give each empty cluster one of the points with the largest parts of the sum, none of them 0; in place."""
    empty = (torch.bincount(cluster, minlength=len(changed)) == 0).nonzero().flatten()
    largest = parts.topk(min(len(empty), int((parts > 0).sum()))).indices
    empty = empty[: len(largest)]
    changed[torch.cat([empty, cluster[largest]])] = True
    cluster[largest] = empty


def _set_means(centers: Tensor, points: Tensor, mass: Tensor, cluster: Tensor, changed: Tensor) -> None:
    """Move the centers of clusters that changed; one without points stays."""
    sums = torch.zeros(centers.shape, dtype=torch.float64)
    total = torch.zeros(len(centers), dtype=torch.float64)
    for rows in changed[cluster].nonzero().flatten().split(_ROWS):
        sums.index_add_(0, cluster[rows], points[rows].double().mul_(mass[rows, None]))
        total.index_add_(0, cluster[rows], mass[rows])
    some = total > 0
    centers[some] = (sums[some] / total[some, None]).float()


def _reassign(points: Tensor, centers: Tensor, cluster: Tensor, squared: Tensor, changed: Tensor) -> None:
    """Find the nearest centers, in place, where those of the clusters that changed have moved."""
    own = changed[cluster]
    rows, others = own.nonzero().flatten(), (~own).nonzero().flatten()
    if len(rows):
        cluster[rows], squared[rows] = _nearest_in_float32(points[rows], centers)
    if len(rows) and len(others):  # their own centers have not moved
        news = changed.nonzero().flatten()
        found, distance = _nearest_in_float32(points[others], centers[news])
        nearer = distance < squared[others]
        cluster[others[nearer]], squared[others[nearer]] = news[found[nearer]], distance[nearer]


def nearest_by_faiss(points: Tensor, centers: Tensor) -> Tensor:
    """``Long[n]``: which center is nearest by faiss's float32, on the device where the points are.

    Args:
        points: ``Float32[n F]``, contiguous.
        centers: ``Float32[L F]``, contiguous, L at least 1.
    """
    if points.device.type == "cuda":
        from faiss.contrib import torch_utils  # noqa: F401  faiss takes torch's tensors as they are

        _, index = faiss.knn_gpu(_gpu_resources(), points, centers, 1)
        return index[:, 0]
    _, found = faiss.knn(points.numpy(), centers.numpy(), 1)
    return torch.from_numpy(found[:, 0])


def faiss_runs_on(device: torch.device) -> bool:
    """Whether faiss is installed, with its GPU part where the device is one."""
    if faiss is None or device.type == "cpu":
        return faiss is not None
    return device.type == "cuda" and hasattr(faiss, "StandardGpuResources")  # knn_gpu is in faiss-cpu as well


@functools.cache
def _gpu_resources() -> Any:
    """Of this process: each one reserves memory of the GPU."""
    return faiss.StandardGpuResources()


def _nearest_in_float32(points: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """``Long[n]``, ``Float[n]``: nearest centers and squared distances, as far as products in float32 tell."""
    if faiss is not None:
        squared, index = faiss.knn(points.numpy(), centers.numpy(), 1)
        return torch.from_numpy(index[:, 0].copy()), torch.from_numpy(squared[:, 0].copy()).clamp_(min=0)
    norms = centers.square().sum(1)
    parts = [torch.addmm(norms, part, centers.T, alpha=-2).min(1) for part in points.split(_ROWS)]
    least = torch.cat([part.values for part in parts]) + points.square().sum(1)
    return torch.cat([part.indices for part in parts]), least.clamp_(min=0)
