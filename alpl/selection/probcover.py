"""ProbCover: balls that cover the most (Yehuda et al. 2022, Active Learning Through a Covering Lens).

Axes: U candidates, L labeled, F features, b picks, k clusters.
"""

from __future__ import annotations

import torch
from torch import Tensor

from alpl.selection.blocks import MEMORY_LIMIT
from alpl.selection.neighbors import nearest_center, weighted_kmeans
from alpl.selection.pairs import Points

_HAIR = 1e-9  # the part by which a radius is less than the distance that bounds it: rounding must not decide


def probcover(
    features: Tensor,
    labeled: Tensor,
    budget: int,
    *,
    delta: float,
    normalize: bool = True,
    memory_limit: int = MEMORY_LIMIT,
) -> tuple[Tensor, Tensor]:
    r"""Pick the candidate whose ball holds most candidates that no ball holds yet, again and again (Algorithm 1).

    A ball is of all at a distance below :math:`\delta`, as in the released code; the balls of labeled images count from
    the beginning, and who is in one needs no other. First index on ties; where all are covered the rest is picked in
    order.

    The graph is never held: degrees are counted once, and each point takes its edges back when it is covered, which
    happens once. O(U^2 F) time, O(U) memory beside the points and a block.

    Args:
        features: ``Float[U F]``.
        labeled: ``Float[L F]``, L may be 0.
        budget: b.
        delta: radius of a ball; see :func:`pure_radius`.
        normalize: scale the features to length 1, as the paper's are.
        memory_limit: bytes for a block of distances, beside 16 (U + L) F.

    Returns:
        ``Long[b]`` picks in order, and ``Float64[b]`` how many each covered newly.

    Raises:
        ValueError: the widths differ, a value is not finite, or an argument is out of range.
    """
    number = len(features)
    if features.ndim != 2 or labeled.ndim != 2 or features.shape[1] != labeled.shape[1]:
        shapes = f"{list(features.shape)} and {list(labeled.shape)}"
        raise ValueError(f"features and labeled must be [U F] and [L F], got {shapes}")
    if not 0 <= budget <= number:
        raise ValueError(f"budget must be in [0, {number}] candidates, got {budget}")
    if not 0 < delta < float("inf"):
        raise ValueError(f"delta must be finite and > 0, got {delta}")
    points = Points(torch.cat([features, labeled]).cpu(), normalize=normalize, memory_limit=memory_limit)
    candidates, centers = torch.arange(number), torch.arange(number, len(points))
    is_covered = torch.zeros(number, dtype=torch.bool)
    if len(centers):
        for rows, squared in points.blocks(candidates, centers):
            is_covered[rows] = squared.amin(1) < delta**2
    degree = _degrees(points, (~is_covered).nonzero().flatten(), number, delta)
    picks, values = [], []
    for _ in range(budget):
        pick = int(degree.argmax())
        near = points.squared(torch.tensor([pick]), candidates)[0] < delta**2
        newly = (near & ~is_covered).nonzero().flatten()
        picks.append(pick)
        values.append(float(len(newly)))
        is_covered[newly] = True
        degree -= _degrees(points, newly, number, delta)
        degree[pick] = -(number + 1)  # never again: its own edges are gone, no degree falls below 0
    return torch.tensor(picks, dtype=torch.long), torch.tensor(values, dtype=torch.float64)


def pure_radius(
    features: Tensor,
    num_clusters: int,
    *,
    purity: float = 0.95,
    seed: int = 0,
    normalize: bool = True,
    memory_limit: int = MEMORY_LIMIT,
) -> float:
    r"""Give the largest radius at which enough balls are pure (Yehuda et al. 2022, sec. 3.1).

    .. math:: \delta^* = \max \{ \delta : \tfrac1N |\{ x : B_\delta(x) \text{ is pure} \}| \ge \alpha \}

    A ball is pure where all its points are of one cluster of k-means, which stand for the classes. It is so up to the
    distance of the nearest point of another cluster, so that :math:`\delta^*` is a quantile of these distances, and no
    grid of radii is needed. O(N^2 F) time.

    Args:
        features: ``Float[N F]``.
        num_clusters: k, of the classes.
        purity: :math:`\alpha`, 0.95 in the paper.
        seed: of k-means.
        normalize: as for :func:`probcover`.
        memory_limit: as there.

    Returns:
        The radius; infinite where there is only one cluster.

    Raises:
        ValueError: there are fewer points than clusters, or an argument is out of range.
    """
    if not 1 <= num_clusters <= len(features):
        raise ValueError(f"num_clusters must be in [1, {len(features)}] points, got {num_clusters}")
    if not 0 < purity <= 1:
        raise ValueError(f"purity must be in (0, 1], got {purity}")
    points = Points(features.cpu(), normalize=normalize, memory_limit=memory_limit)
    values = points.values.float()
    cluster = nearest_center(values, weighted_kmeans(values, torch.ones(len(values)), num_clusters, seed=seed))[0]
    strangers = torch.empty(len(points), dtype=torch.float64)
    for rows, squared in points.blocks(torch.arange(len(points))):
        strangers[rows] = squared.masked_fill_(cluster[rows, None] == cluster, torch.inf).amin(1)
    # pure while delta <= the distance, as a ball is open: so many may be less
    allowed = int((1 - purity) * len(points) + 1e-9)
    radius = float(strangers.sort().values[allowed].sqrt()) if allowed < len(points) else float("inf")
    return radius * (1 - _HAIR)


def _degrees(points: Points, of: Tensor, number: int, delta: float) -> Tensor:
    """``Long[U]``: how many points of ``of`` the ball of each candidate holds (distances are symmetric)."""
    degree = torch.zeros(number, dtype=torch.long)
    for _, squared in points.blocks(of, torch.arange(number)):
        degree += (squared < delta**2).sum(0)
    return degree
