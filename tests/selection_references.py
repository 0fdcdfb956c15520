"""The obvious versions of the selection methods: loops as the papers write them, for tests and benchmarks."""

from __future__ import annotations

import itertools

import torch


def summed(values):
    """Rows summed by halves in float64, column after column: the order of summation that the package defines."""
    columns = list(values.double().T)
    while len(columns) > 1:
        half = len(columns) // 2
        right = len(columns) - half
        columns = [columns[k] + columns[right + k] for k in range(half)] + columns[half:right]
    return columns[0] if columns else values.new_zeros(len(values), dtype=torch.float64)


def squared_distances(points, point):
    return summed((points.float().double() - point.float().double()).square())


def cosine_distances(points, point):
    def unit(rows):
        return rows.float().double() / summed(rows.float().double().square()).sqrt()[:, None]

    return summed((unit(points) - unit(point[None])).square()) / 2


def symmetric_kl(points, point):
    probs, others = (side.float().clamp(min=1e-12) for side in (points, point[None]))
    logs, other_logs = (side.double().log().float() for side in (probs, others))
    return summed((probs.double() - others.double()) * (logs.double() - other_logs.double())) / 2


def kcenter(points, centers, budget, distances_to=squared_distances):
    """Sener and Savarese 2018, Algorithm 1: after each pick all distances are brought up to date. Picks, distances."""
    nearest = torch.full((len(points),), torch.inf, dtype=torch.float64)
    for center in centers:
        nearest = torch.minimum(nearest, distances_to(points, center))
    picks, distances = [], []
    for _ in range(budget):
        pick = int(nearest.argmax())
        picks.append(pick)
        distances.append(float(nearest[pick]) if len(centers) or len(picks) > 1 else 0.0)
        nearest = torch.minimum(nearest, distances_to(points, points[pick]))
        nearest[picks] = -1.0
    return picks, distances


def balanced_kcenter(points, centers, probs, targets, weight, budget):
    """Thesis Algorithm 2: after each pick all distances and all norms are brought up to date. Picks, distances."""
    nearest = torch.full((len(points),), torch.inf if len(centers) else 0.0, dtype=torch.float64)
    for center in centers:
        nearest = torch.minimum(nearest, squared_distances(points, center))
    lack, picks, distances = targets.double(), [], []
    for step in range(budget):
        cost = weight * summed((lack - probs.double()).abs()) - nearest.sqrt()
        cost[picks] = torch.inf
        pick = int(cost.argmin())
        picks.append(pick)
        distances.append(float(nearest[pick].sqrt()))
        apart = squared_distances(points, points[pick])
        nearest = torch.minimum(nearest, apart) if step or len(centers) else apart
        lack = lack - probs[pick].double()
    return picks, distances


def gradients(features, probs):
    """BADGE's embeddings, formed: ``Float64[U C F]`` flattened."""
    errors = probs.float().clone()
    errors[torch.arange(len(probs)), probs.argmax(1)] -= 1
    return (errors.double()[:, :, None] * features.float().double()[:, None]).flatten(1)


def badge(features, probs, budget, generator, first="as_written"):
    """k-means++ with all distances after each pick; draws as exponential races."""
    embedded = gradients(features, probs)
    nearest = torch.full((len(embedded),), torch.inf, dtype=torch.float64)
    picks = []
    for _ in range(budget):
        times = torch.empty(len(embedded), dtype=torch.float64).exponential_(generator=generator)
        times[picks] = torch.inf
        if not picks and first == "as_released":
            pick = int(embedded.square().sum(1).argmax())
        elif not picks or not (nearest > 0).any():
            pick = int(times.argmin())
        else:
            pick = int((times / nearest).argmin())
        picks.append(pick)
        nearest = torch.minimum(nearest, (embedded - embedded[pick]).square().sum(1))
        nearest[picks] = 0.0
    return picks


def best_radius(points, centers, budget, num_outliers):
    """The robust core-set by trying every choice."""
    if num_outliers >= len(points):
        return 0.0
    pairs = (points.double()[:, None] - torch.cat([centers, points]).double()).square().sum(2).sqrt().tolist()
    best = float("inf")
    for choice in itertools.combinations(range(len(centers), len(centers) + len(points)), budget):
        covered_by = [*range(len(centers)), *choice]
        if covered_by:
            radii = sorted(min(distances[column] for column in covered_by) for distances in pairs)
            best = min(best, radii[len(points) - 1 - num_outliers])
    return best


def nearest_of_each_cluster(points, centers):
    """DBAL's last step: each center takes the nearest point of its own cluster."""
    clusters = {}
    for i, point in enumerate(points.double()):
        distances = [float((point - center).square().sum()) for center in centers.double()]
        cluster = min(range(len(centers)), key=lambda j: (distances[j], j))
        clusters.setdefault(cluster, []).append((distances[cluster], i))
    return sorted(min(members)[1] for members in clusters.values())
