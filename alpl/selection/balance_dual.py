"""The Lagrangian dual of class-balanced selection: a bound, reduced costs and a first choice.

Axes: N unlabeled images, C classes, b images to choose.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Dual(NamedTuple):
    """What the dual came to."""

    bound: float
    """No choice of b images has a lower objective."""
    multipliers: Tensor
    """``Float64[C]``, that reach the bound."""
    choice: Tensor
    """``Long[b]``: of the b images with the smallest reduced costs at each step, the best for thesis Eq. 4.8."""


def raise_dual(cost: Tensor, probs: Tensor, targets: Tensor, weight: float, budget: int, num_steps: int) -> Dual:
    r"""Raise the dual of thesis Eq. 4.8 by projected subgradient steps.

    .. math:: \max_{|\mu_c| \le \lambda} \; \mu^T \Omega + \sum_{i=1}^{b} \big(u - P \mu\big)_{(i)}

    Its slope is what the b images with the smallest reduced costs :math:`u - P \mu` lack of the targets. The length of
    a step is Polyak's, against the best choice so far, and halved where 15 steps bring nothing. O(N C) a step.

    Args:
        cost: ``Float64[N]``, u.
        probs: ``Float64[N C]``, P.
        targets: ``Float64[C]``, :math:`\Omega`.
        weight: :math:`\lambda`.
        budget: b.
        num_steps: at most.
    """
    multipliers = torch.zeros_like(targets)
    best, best_multipliers = -math.inf, multipliers
    least, choice = math.inf, torch.arange(budget, device=cost.device)
    scale, since = 1.0, 0
    for _ in range(num_steps):
        reduced = cost - probs @ multipliers
        smallest = reduced.topk(budget, largest=False)
        lack = targets - probs[smallest.indices].sum(0)
        value = float(multipliers @ targets + smallest.values.sum())
        reached = float(cost[smallest.indices].sum() + weight * lack.abs().sum())
        if reached < least:
            least, choice = reached, smallest.indices
        since += 1
        if value > best + 1e-7 * abs(best):
            since = 0
        if value > best:
            best, best_multipliers = value, multipliers
        if since >= 15:  # no progress: shorter steps, from the best place
            scale, since, multipliers = scale / 2, 0, best_multipliers
            if scale < 1e-4:
                break
            continue
        slope = float(lack.square().sum())
        if least - value <= 1e-9 * max(abs(value), 1.0) or slope == 0:
            break  # no choice is better than the best of those found
        length = scale * (least - value) / slope
        multipliers = (multipliers + length * lack).clamp(-weight, weight)
    return Dual(best, best_multipliers, choice)
