r"""What the weight of class balance does to a choice, and the weight that the thesis takes (sec. 4.4, Fig. 4.4).

Axes: N unlabeled images, C classes, b images to choose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import torch
from torch import Tensor

from alpl.errors import ConfigError
from alpl.selection.balanced_greedy import balanced_greedy
from alpl.selection.balanced_kcenter import balanced_kcenter
from alpl.selection.class_balance import balanced_choice
from alpl.selection.gains import AbstractGain

TOLERANCE = 0.01  # of the l1 norm: choices are not proved optimal, so that it need not fall to the last digit


@final
@dataclass(frozen=True)
class Choice:
    """What one weight chooses.

    Args:
        index: ``Long[b]`` positions in N.
        value: the sum of the images' utilities (Eq. 4.7 for entropy); of a k-center choice, of its distances.
        gap: how far from the optimum it can be, see :attr:`alpl.selection.class_balance.BalancedChoice.gap`; None for a
            greedy choice, which has no bound.
    """

    index: Tensor
    value: float
    gap: float | None = None


@final
@dataclass(frozen=True)
class Measured:
    r"""What a choice is worth.

    Args:
        value: see :class:`Choice`.
        l1: :math:`\lVert \Omega - P^T z \rVert_1`, Eq. 4.2.
        l1_score: of the true classes, Eq. 4.10.
    """

    value: float
    l1: float
    l1_score: float


def ranked(utility: Tensor, probs: Tensor, targets: Tensor, budget: int) -> Callable[[float], Choice]:
    """Give weight -> choice by Eq. 4.8; arguments as of :func:`alpl.selection.class_balance.balanced_choice`."""

    def choose(weight: float) -> Choice:
        found = balanced_choice(-utility, probs, targets, weight, budget)
        return Choice(found.index, float(utility[found.index].sum()), found.gap)

    return choose


def centered(
    features: Tensor, centers: Tensor, probs: Tensor, targets: Tensor, budget: int
) -> Callable[[float], Choice]:
    """Give weight -> choice by Algorithm 2; see :func:`alpl.selection.balanced_kcenter.balanced_kcenter`."""

    def choose(weight: float) -> Choice:
        picks, distances = balanced_kcenter(features, centers, probs, targets, weight, budget)
        return Choice(picks, float(distances.sum()))

    return choose


def greedy(gain: Callable[[], AbstractGain], probs: Tensor, targets: Tensor, budget: int) -> Callable[[float], Choice]:
    """Give weight -> choice by Algorithm 2 around any gains, which ``gain`` gives as they are before the first pick.

    See :func:`alpl.selection.balanced_greedy.balanced_greedy`.
    """

    def choose(weight: float) -> Choice:
        picks, gains = balanced_greedy(gain(), probs, targets, weight, budget)
        return Choice(picks, float(gains.sum()))

    return choose


def l1_norm(probs: Tensor, targets: Tensor, index: Tensor) -> float:
    """Eq. 4.2 of the choice ``index``, ``Long[b]``; the others as of :func:`ranked`."""
    return float((targets.double() - probs[index].double().sum(0)).abs().sum())


def sufficient_weight(weights: Sequence[float], norms: Sequence[float]) -> float:
    r"""Give :math:`\lambda^*`: "the smallest :math:`\lambda` after which the L1 loss does not diminish further".

    The smallest weight of a scan whose l1 norm no larger weight betters by more than 1 %. The text has no tolerance;
    without one the end of the scan would be taken wherever choices differ by a hair.

    Args:
        weights: ascending.
        norms: the l1 norm of the choice of each.

    Raises:
        ConfigError: there is no weight, or they do not ascend.

    >>> sufficient_weight([0.0, 0.5, 1.0, 1.5], [9.0, 4.0, 1.0, 0.995])
    1.0
    """
    if not weights or not all(later > earlier for earlier, later in pairwise(weights)):
        raise ConfigError(f"weights must be at least one and ascend, got {list(weights)}")
    assert len(norms) == len(weights), "one norm a weight"
    least = torch.tensor(norms, dtype=torch.float64).flip(0).cummin(0).values.flip(0).tolist()  # from here on
    enough = (weight for weight, norm, best in zip(weights, norms, least, strict=True) if _is_as_good(norm, best))
    return next(enough)


def _is_as_good(norm: float, best: float) -> bool:
    return norm <= (1 + TOLERANCE) * best + 1e-9
