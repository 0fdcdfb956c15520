r"""k-center greedy (Sener and Savarese 2018, Algorithm 1).

Axes: U candidates, L centers, F features, b picks.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from alpl.selection.blocks import MEMORY_LIMIT
from alpl.selection.divergence_space import SymmetricKLSpace
from alpl.selection.farthest_first import farthest_first
from alpl.selection.feature_spaces import Backend, CosineSpace, EuclideanSpace
from alpl.selection.gains import NearestGain
from alpl.selection.spaces import AbstractSpace, DistanceBlock, GivenSpace

FeatureMetric: TypeAlias = Literal["euclidean", "cosine"]
Metric: TypeAlias = Literal["euclidean", "cosine", "symmetric_kl"]
FEATURE_METRICS: tuple[str, ...] = get_args(FeatureMetric)

_FEATURE_SPACES: dict[str, type[EuclideanSpace | CosineSpace]] = {"euclidean": EuclideanSpace, "cosine": CosineSpace}


def kcenter_greedy(
    features: Tensor,
    centers: Tensor,
    budget: int,
    *,
    metric: Metric = "euclidean",
    memory_limit: int = MEMORY_LIMIT // 8,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor]:
    r"""Pick the candidate that is farthest from all centers and picks so far, again and again.

    .. math:: u = \arg\max_{i} \min_{j \in s} d(x_i, x_j)

    where s holds the centers and the picks so far. First index on ties; with no center at all the first pick is
    index 0. See :func:`alpl.selection.farthest_first.farthest_first` for how, for time and for memory.

    What "farthest" means to the last bit: features of any type are read as float32, block by block (exact for float16
    and bfloat16; float64 is rounded, so what differs beyond 24 bits is equal here). Distances are compared as sums of
    (half) squared differences in float64, added by halves (:func:`alpl.selection.exact_sum.tree_sum`).

    For ``symmetric_kl`` they are the distances of probabilities whose logarithms are rounded to float32, from which a
    distance d of near distributions is off by about 5e-8 sqrt(d): near 2e-7 right to about 1e-4 of itself, no more.

    What happens when devices round differently: nothing. Only matrix products do, and they serve as bounds with a
    margin for any order of summation, so they change how many distances are computed, never which pick is made. What
    decides are single IEEE operations in float64 in a fixed order, with logarithms taken on the CPU. So the picks from
    given features do not depend on block sizes, threads, or whether they are made on a CPU or a GPU.

    Args:
        features: ``Float[U F]`` candidates; class probabilities for ``symmetric_kl``.
        centers: ``Float[L F]``, L may be 0.
        budget: b.
        metric: ``euclidean``, ``cosine`` (one minus the cosine), or ``symmetric_kl`` (half the sum of both
            Kullback-Leibler divergences).
        memory_limit: bytes for blocks, beside 40 for each candidate and center, and for ``symmetric_kl`` 4 F more.
        backend: who bounds the distances to the centers, ``auto``, ``torch`` or ``faiss``; see
            :class:`alpl.selection.feature_spaces.EuclideanSpace`. The picks are the same. Not for ``symmetric_kl``.

    Returns:
        ``Long[b]`` picks in order, and ``Float64[b]`` the distance to the nearest center at which each was picked
        (a first pick without centers has none and gets 0).

    Raises:
        ValueError: ``budget`` exceeds U, the widths differ, a value is not finite (or zero for ``cosine``, or no
            distribution for ``symmetric_kl``), ``metric`` is unknown, or ``memory_limit`` is too small for a block.
        ConfigError: ``backend`` is unknown, or ``faiss`` is asked for and does not run on the device.

    >>> kcenter_greedy(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[0.0]]), 2)
    (tensor([2, 1]), tensor([5., 1.], dtype=torch.float64))
    """
    picks, distances = _pick(_space(features, centers, metric, memory_limit, backend), budget)
    return picks, distances.sqrt() if metric == "euclidean" else distances


def kcenter_gain(
    features: Tensor,
    centers: Tensor,
    *,
    metric: Metric = "euclidean",
    memory_limit: int = MEMORY_LIMIT // 8,
    backend: Backend = "auto",
) -> NearestGain:
    """Give what :func:`kcenter_greedy` takes the largest of, pick by pick; arguments as there."""
    space = _space(features, centers, metric, memory_limit, backend)
    return NearestGain(space, is_squared=metric == "euclidean")


def kcenter_gain_by(
    distance: DistanceBlock,
    num_candidates: int,
    num_centers: int,
    *,
    device: torch.device | None = None,
    memory_limit: int = MEMORY_LIMIT,
) -> NearestGain:
    """Give what :func:`kcenter_greedy_by` takes the largest of, pick by pick; arguments as there."""
    return NearestGain(GivenSpace(distance, num_candidates, num_centers, device or torch.device("cpu"), memory_limit))


def kcenter_greedy_by(
    distance: DistanceBlock,
    num_candidates: int,
    num_centers: int,
    budget: int,
    *,
    device: torch.device | None = None,
    memory_limit: int = MEMORY_LIMIT,
) -> tuple[Tensor, Tensor]:
    """:func:`kcenter_greedy` with the distances that a function gives.

    Args:
        distance: ``(rows Long[n], columns Long[m]) -> Float[n m]``: symmetric, not negative, and the same for a pair
            in whatever block it stands. Points 0 to U - 1 are candidates, U to U + L - 1 centers; rows are candidates.
        num_candidates: U.
        num_centers: L.
        budget: b.
        device: where the function wants its indices; the CPU where absent.
        memory_limit: bytes for blocks of distances.

    Returns:
        As :func:`kcenter_greedy`.

    Raises:
        ValueError: ``budget`` exceeds U, or the function gives a wrong shape, NaN or a negative distance.
    """
    return _pick(GivenSpace(distance, num_candidates, num_centers, device or torch.device("cpu"), memory_limit), budget)


def _space(features: Tensor, centers: Tensor, metric: str, memory_limit: int, backend: Backend) -> AbstractSpace:
    if metric == "symmetric_kl":
        return SymmetricKLSpace(features, centers, memory_limit)
    if metric not in _FEATURE_SPACES:
        raise ValueError(f"metric must be one of {', '.join(get_args(Metric))}, got {metric!r}")
    return _FEATURE_SPACES[metric](features, centers, memory_limit, backend)


def _pick(space: AbstractSpace, budget: int) -> tuple[Tensor, Tensor]:
    if not 0 <= budget <= space.num_candidates:
        raise ValueError(f"budget must be in [0, {space.num_candidates}] candidates, got {budget}")
    picks, distances = farthest_first(space, budget)
    if budget and not space.num_centers:
        distances[0] = 0.0
    return picks, distances
