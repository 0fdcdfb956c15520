r"""Class balance around any greedy selection (thesis sec. 4.4, Algorithm 2).

Axes: N unlabeled images, C classes, b picks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from alpl.selection.exact_sum import tree_sum
from alpl.selection.gains import AbstractGain


def balanced_greedy(
    gain: AbstractGain, probs: Tensor, targets: Tensor, weight: float, budget: int
) -> tuple[Tensor, Tensor]:
    r"""Pick one image after the other, of large gain and of a class that is lacking.

    .. math:: \psi = \arg\min_j \; -g_j + \lambda \lVert R - P_j \rVert_1, \qquad R = \Omega - \sum_{i \in s} P_i

    Algorithm 2 has the distance to the nearest center as the gain g; the text says that any greedy acquisition can
    take its place. First index on ties. With distances it is the obvious form of
    :func:`alpl.selection.balanced_kcenter.balanced_kcenter`, which is faster. O(N C) and an update of the gains a pick.

    Args:
        gain: of the N images, given the picks.
        probs: ``Float[N C]``, P.
        targets: ``Float[C]``, Omega, see :func:`alpl.selection.class_balance.class_targets`.
        weight: lambda, >= 0, in units of the gain.
        budget: b.

    Returns:
        ``Long[b]`` picks in order, and ``Float64[b]`` the gain of each when it was picked.

    Raises:
        ValueError: shapes do not fit, a value is not finite, or ``weight`` or ``budget`` is out of range.
    """
    _check(gain.values, probs, targets, weight, budget)
    rest, probs = targets.to(probs.device, torch.float64), probs.double()
    free = torch.ones(len(probs), dtype=torch.bool, device=probs.device)
    picks: list[int] = []
    gains: list[float] = []
    for step in range(budget):
        worth = gain.values.to(probs.device) - weight * tree_sum((rest - probs).abs_())
        pick = int(torch.where(free, worth, -math.inf).argmax())
        picks.append(pick)
        gains.append(float(gain.values[pick]))
        free[pick] = False
        rest = rest - probs[pick]
        if step + 1 < budget:
            gain.add(pick)
    return torch.tensor(picks, dtype=torch.long), torch.tensor(gains, dtype=torch.float64)


def _check(gains: Tensor, probs: Tensor, targets: Tensor, weight: float, budget: int) -> None:
    if targets.ndim != 1 or gains.shape != (len(probs),) or probs.shape != (len(gains), len(targets)):
        shapes = f"{list(gains.shape)}, {list(probs.shape)} and {list(targets.shape)}"
        raise ValueError(f"gains, probs and targets must be [N], [N C] and [C], got {shapes}")
    for name, values in (("gains", gains), ("probs", probs), ("targets", targets)):
        if not bool(values.isfinite().all()):
            raise ValueError(f"{name} must be finite, got NaN or infinite values")
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"weight must be finite and >= 0, got {weight}")
    if not 0 <= budget <= len(gains):
        raise ValueError(f"budget must be in [0, {len(gains)}] images, got {budget}")
