r"""Selection that balances the classes (thesis ch. 4).

.. math:: \min_z \; u^T z + \lambda \lVert \Omega - P^T z \rVert_1 \quad \text{s.t. } 1^T z = b,\; z \in \{0, 1\}^N

(Eq. 4.8; the thesis hands it to Gurobi with a limit of 1000 s.) Here its Lagrangian dual gives a bound that equals the
linear relaxation's, the dual's orders give a first choice, a local search betters it, and what is returned says how far
from the optimum it can be.

Axes: N unlabeled images, C classes, b images to choose.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from alpl.selection.balance_dual import raise_dual
from alpl.selection.binary_program import solve_exactly
from alpl.selection.exchange import Exchange
from alpl.selection.exchange_search import search

EXACT_UP_TO = 200
"""Images up to which the integer program is solved to the end."""

ENOUGH = 1e-4
"""A gap at which the search ends: what Gurobi, which the thesis uses, has by default."""


class BalancedChoice(NamedTuple):
    """What was chosen, and how good it is."""

    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody asks of a choice
    """``Long[b]`` positions in N, ascending."""
    objective: float
    """Eq. 4.8 at the choice."""
    bound: float
    """No choice is below this."""
    descents: int = 0
    """Of the search, 0 where it was not needed."""

    @property
    def gap(self) -> float:
        """``(objective - bound) / |bound|``, at least 0."""
        excess = max(self.objective - self.bound, 0.0)
        return excess / abs(self.bound) if self.bound else (math.inf if excess else 0.0)


def class_targets(counts: Tensor, budget: int) -> Tensor:
    r"""``Float64[C]``: how many images of each class would balance the labeled set (thesis Eq. 4.4).

    .. math:: \omega_i = \max\Big( \frac{c\,b + b_0}{C} - n_i,\; 0 \Big)

    where :math:`c\,b + b_0` is the size of the labeled set after this query.

    Args:
        counts: ``[C]``, n: labeled images of each class, or their shares in it.
        budget: b.

    Raises:
        ValueError: there is no class, or ``budget`` is negative.

    >>> class_targets(torch.tensor([5, 1, 0]), 6)
    tensor([0., 3., 4.], dtype=torch.float64)
    """
    if counts.ndim != 1 or not len(counts):
        raise ValueError(f"counts must be Long[C] of at least one class, got shape {list(counts.shape)}")
    if budget < 0:
        raise ValueError(f"budget must be >= 0, got {budget}")
    size = float(counts.sum()) + budget
    return (size / len(counts) - counts.double()).clamp(min=0)


def objective(cost: Tensor, probs: Tensor, targets: Tensor, weight: float, index: Tensor) -> float:
    """Eq. 4.8 of the choice ``index``; arguments as in :func:`balanced_choice`."""
    lack = targets - probs[index].sum(0)
    return float(cost[index].sum() + weight * lack.abs().sum())


def balanced_choice(
    cost: Tensor,
    probs: Tensor,
    targets: Tensor,
    weight: float,
    budget: int,
    *,
    num_steps: int = 600,
    enough: float = ENOUGH,
) -> BalancedChoice:
    r"""Choose the b images that minimize Eq. 4.8, or come close.

    The dual of Eq. 4.8 is

    .. math:: \max_{|\mu_c| \le \lambda} \; \mu^T \Omega + \sum_{i=1}^{b} \big(u - P \mu\big)_{(i)}

    with the b smallest entries in the sum, see :func:`alpl.selection.balance_dual.raise_dual`. The b images of every
    step are a choice too. The best of these is bettered by exchanging images near the border of the order, from many
    beginnings that are the same in every run, until the gap is ``enough`` or more beginnings no longer pay, see
    :func:`alpl.selection.exchange_search.search`. O(``num_steps`` N C) time for the dual, and a few seconds for the
    search, whatever N is; O(N C) memory, and for the search that of
    :data:`alpl.selection.exchange.BORDER`.

    The bound is at most that of the linear relaxation (the dual's steps are limited), so that a gap remains where the
    choice is optimal. It grows with lambda and with how sharp the predictions are, as whole images cannot meet C
    targets at once: see the table in ``tests/benchmarks/README.md``, and the search for why time alone does not close
    it.

    Args:
        cost: ``Float[N]``, u: what is minimized, e.g. the negative entropy.
        probs: ``Float[N C]``, P: predicted class probabilities.
        targets: ``Float[C]``, :math:`\Omega`, see :func:`class_targets`.
        weight: :math:`\lambda \ge 0`.
        budget: b, in [0, N].
        num_steps: of the dual, at most; at least 1.
        enough: the gap at which the search ends, >= 0; at infinity it is the dual's choice, bettered once.

    Raises:
        ValueError: shapes do not fit, a value is not finite, or ``weight``, ``budget``, ``num_steps`` or ``enough``
            is out of range.
    """
    _check(cost, probs, targets, weight, budget)
    if num_steps < 1:
        raise ValueError(f"num_steps must be >= 1, got {num_steps}")
    if not enough >= 0:
        raise ValueError(f"enough must be >= 0, got {enough}")
    cost, probs, targets = cost.double(), probs.double(), targets.double()
    number = len(cost)
    if budget in (0, number):
        index = torch.arange(budget, device=cost.device)
        value = objective(cost, probs, targets, weight, index)
        return BalancedChoice(index, value, value)
    if weight == 0:
        index = torch.argsort(cost, stable=True)[:budget].sort().values
        value = objective(cost, probs, targets, 0.0, index)
        return BalancedChoice(index, value, value)
    if number <= EXACT_UP_TO:
        index = solve_exactly(cost, probs, targets, weight, budget)
        value = objective(cost, probs, targets, weight, index)
        return BalancedChoice(index, value, value)
    bound, multipliers, start = raise_dual(cost, probs, targets, weight, budget, num_steps)
    exchange = Exchange(cost, probs, targets, weight, start, multipliers)
    kept = objective(cost, probs, targets, weight, start) - exchange.value  # cost of images that stay
    found = search(exchange, bound - kept, bound + enough * abs(bound) - kept)
    value = objective(cost, probs, targets, weight, found.index)
    return BalancedChoice(found.index, value, min(bound, value), found.descents)


def l1_score(counts: Tensor) -> float:
    r"""Imbalance of a selection in [0, 1]: 0 for equal classes, 1 for a single one (thesis Eq. 4.10).

    .. math:: \frac{\lVert n - b / C \rVert_1}{2 b (C - 1) / C}, \qquad b = \sum_i n_i

    Of the images of one query as written; of all labeled images as released.

    Args:
        counts: ``Long[C]``, n: images of each class.

    Raises:
        ValueError: there is no image.

    >>> l1_score(torch.tensor([2, 2, 2])), l1_score(torch.tensor([0, 6, 0])), l1_score(torch.tensor([4, 2, 0]))
    (0.0, 1.0, 0.5)
    """
    number, num_classes = int(counts.sum()), len(counts)
    if not number:
        raise ValueError("counts must hold an image, got none")
    if num_classes == 1:
        return 0.0
    distance = float((counts.double() - number / num_classes).abs().sum())
    return distance / (2 * number * (num_classes - 1) / num_classes)


def _check(cost: Tensor, probs: Tensor, targets: Tensor, weight: float, budget: int) -> None:
    number = len(cost)
    if cost.ndim != 1 or probs.shape != (number, len(targets)) or targets.ndim != 1:
        shapes = f"{list(cost.shape)}, {list(probs.shape)} and {list(targets.shape)}"
        raise ValueError(f"cost, probs and targets must be [N], [N C] and [C], got {shapes}")
    for name, values in (("cost", cost), ("probs", probs), ("targets", targets)):
        if not bool(values.isfinite().all()):
            raise ValueError(f"{name} must be finite, got NaN or infinite values")
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"weight must be finite and >= 0, got {weight}")
    if not 0 <= budget <= number:
        raise ValueError(f"budget must be in [0, {number}] images, got {budget}")
