"""Clusters by average linkage, for pools of any size.

Axes: U points, F features, m points that are linked.
"""

from __future__ import annotations

import torch
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor

from alpl.selection.feature_spaces import check_features
from alpl.selection.neighbors import nearest_center, weighted_kmeans

LINKED_UP_TO = 4096
"""Points up to which all pairs are held: 67 MB."""


def average_linkage(
    features: Tensor,
    *,
    num_clusters: int | None = None,
    distance: float | None = None,
    seed: int,
    linked_up_to: int = LINKED_UP_TO,
) -> Tensor:
    """``Long[U]``: the cluster of each point, by hierarchical agglomerative clustering with average linkage.

    Of more than ``linked_up_to`` points k-means makes so many first, and its centers are linked, each as one point: all
    pairs of 100,000 points would take 37 GiB. O(m^2) time and 8 m^2 / 2 bytes, and O(20 U m F) time for the k-means.

    Args:
        features: ``Float[U F]``.
        num_clusters: at most so many; or
        distance: at which linking ends.
        seed: of the k-means.
        linked_up_to: m.

    Raises:
        ValueError: a feature is not finite, or not one of ``num_clusters`` and ``distance`` is given and positive.
    """
    wanted = num_clusters if distance is None else distance
    if (num_clusters is None) == (distance is None) or wanted is None or not 0 < wanted < float("inf"):
        given = f"{num_clusters} and {distance}"
        raise ValueError(f"one of num_clusters and distance must be given, finite and > 0, got {given}")
    check_features(features, features[:0])
    points = features.detach().cpu().float()
    if len(points) < 2:
        return torch.zeros(len(points), dtype=torch.long)
    member = torch.arange(len(points))
    if len(points) > linked_up_to:
        centers = weighted_kmeans(points, torch.ones(len(points)), linked_up_to, seed=seed)
        member = nearest_center(points, centers)[0]
        points = centers
    tree = linkage(points.double().numpy(), "average")
    of_linked = torch.from_numpy(fcluster(tree, wanted, "maxclust" if distance is None else "distance")).long()
    _, cluster = torch.unique(of_linked[member], return_inverse=True)
    found: Tensor = cluster
    return found
