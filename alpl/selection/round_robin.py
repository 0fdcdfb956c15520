"""Turns among clusters, the smallest first (Citovsky et al. 2021, Algorithm 2)."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def round_robin(cluster: Tensor, budget: int, generator: Generator) -> Tensor:
    """Draw one point of each cluster in turn, from the smallest cluster to the largest, until there are enough.

    A cluster that is empty is left out; equally large ones come in the order of their numbers.

    Args:
        cluster: ``Long[n]`` of each point, >= 0.
        budget: b.
        generator: on the CPU.

    Returns:
        ``Long[b]`` positions in n.

    Raises:
        ValueError: ``budget`` exceeds n.
    """
    if not 0 <= budget <= len(cluster):
        raise ValueError(f"budget must be in [0, {len(cluster)}] points, got {budget}")
    shuffled = torch.randperm(len(cluster), generator=generator)
    own = cluster[shuffled]
    order = own.argsort(stable=True)
    sizes = torch.bincount(own)
    # the how-manieth of its cluster each is drawn
    turn = torch.empty_like(order)
    turn[order] = torch.arange(len(order)) - (sizes.cumsum(0) - sizes)[own[order]]
    place = torch.empty_like(sizes)
    place[sizes.argsort(stable=True)] = torch.arange(len(sizes))
    key = turn * len(sizes) + place[own]
    return shuffled[key.argsort()[:budget]]
