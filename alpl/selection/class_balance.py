r"""Selection that balances the classes (thesis ch. 4).

.. math:: \min_z \; u^T z + \lambda \lVert \Omega - P^T z \rVert_1 \quad \text{s.t. } 1^T z = b,\; z \in \{0, 1\}^N

(Eq. 4.8; the thesis hands it to Gurobi with a limit of 1000 s.) Here its Lagrangian dual gives a bound that equals the
linear relaxation's, the dual's orders give candidates, a local search betters them, and what is returned says how far
from the optimum it can be.

Axes: N unlabeled images, C classes, b images to choose.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from alpl.selection.binary_program import solve_exactly
from alpl.selection.exchange import Exchange

EXACT_UP_TO = 200
"""Images up to which the integer program is solved to the end."""

_STARTS = 4  # roundings of the dual that the local search begins from
_KICKS = 60  # of the best of them
_ENOUGH = 1e-4  # a gap at which the search stops


class BalancedChoice(NamedTuple):
    """What was chosen, and how good it is."""

    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody asks of a choice
    """``Long[b]`` positions in N, ascending."""
    objective: float
    """Eq. 4.8 at the choice."""
    bound: float
    """No choice is below this."""

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
        counts: ``Long[C]``, n: labeled images of each class.
        budget: b.

    >>> class_targets(torch.tensor([5, 1, 0]), 6)
    tensor([0., 3., 4.], dtype=torch.float64)
    """
    size = int(counts.sum()) + budget
    return (size / len(counts) - counts.double()).clamp(min=0)


def objective(cost: Tensor, probs: Tensor, targets: Tensor, weight: float, index: Tensor) -> float:
    """Eq. 4.8 of the choice ``index``; arguments as in :func:`balanced_choice`."""
    lack = targets - probs[index].sum(0)
    return float(cost[index].sum() + weight * lack.abs().sum())


def balanced_choice(
    cost: Tensor, probs: Tensor, targets: Tensor, weight: float, budget: int, *, num_steps: int = 600
) -> BalancedChoice:
    r"""Choose the b images that minimize Eq. 4.8, or come close.

    The dual of Eq. 4.8 is

    .. math:: \max_{|\mu_c| \le \lambda} \; \mu^T \Omega + \sum_{i=1}^{b} \big(u - P \mu\big)_{(i)}

    with the b smallest entries in the sum. It is raised by projected subgradient steps (Polyak's length against the
    best choice so far); every step's b images are a choice too. The best of these are bettered by exchanging images
    near the border of the order, with random kicks that are the same in every run, see
    :class:`alpl.selection.exchange.Exchange`. O(``num_steps`` N C) time, O(N C) memory. Equal costs: the first images.

    The bound is that of the linear relaxation, so that a gap remains where the choice is optimal: at N = 45,000,
    C = 100, b = 2,500 some 0.02 % and 0.05 % (of sharp predictions 0.04 % and 0.12 %) at the thesis's lambdas, 0.6
    and 2. It grows with lambda, as whole images cannot meet C targets at once, to 0.2 to 0.5 % at lambda = 10.

    Args:
        cost: ``Float[N]``, u: what is minimized, e.g. the negative entropy.
        probs: ``Float[N C]``, P: predicted class probabilities.
        targets: ``Float[C]``, :math:`\Omega`, see :func:`class_targets`.
        weight: :math:`\lambda \ge 0`.
        budget: b, in [0, N].
        num_steps: of the dual, at most.

    Raises:
        ValueError: shapes do not fit, a value is not finite, or ``weight`` or ``budget`` is out of range.
    """
    _check(cost, probs, targets, weight, budget)
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
    bound, multipliers, starts = _dual(cost, probs, targets, weight, budget, num_steps)
    index = _search(cost, probs, targets, weight, starts, cost - probs @ multipliers, bound)
    value = objective(cost, probs, targets, weight, index)
    return BalancedChoice(index, value, min(bound, value))


def _search(
    cost: Tensor, probs: Tensor, targets: Tensor, weight: float, starts: list[Tensor], reduced: Tensor, bound: float
) -> Tensor:
    """Better the roundings of the dual by exchanges, and the best of them further."""
    settled: list[tuple[float, int, Exchange]] = []
    for start in starts:
        search = Exchange(cost, probs, targets, weight, start, reduced)
        search.settle()
        settled.append((objective(cost, probs, targets, weight, search.index), len(settled), search))
    value, _, best = min(settled, key=lambda each: each[:2])
    enough = best.value + (bound + _ENOUGH * abs(bound) - value)  # without the cost of images that stay
    best.improve(_KICKS, enough, torch.Generator().manual_seed(0))
    return best.index


def _dual(
    cost: Tensor, probs: Tensor, targets: Tensor, weight: float, budget: int, num_steps: int
) -> tuple[float, Tensor, list[Tensor]]:
    """Raise the dual; give the bound, the multipliers that reach it, and the best choices met on the way."""
    multipliers = torch.zeros_like(targets)
    best, best_multipliers = -math.inf, multipliers
    found: dict[float, Tensor] = {}
    scale, since = 1.0, 0
    for _ in range(num_steps):
        reduced = cost - probs @ multipliers
        smallest = reduced.topk(budget, largest=False)
        lack = targets - probs[smallest.indices].sum(0)
        value = float(multipliers @ targets + smallest.values.sum())
        reached = float(cost[smallest.indices].sum() + weight * lack.abs().sum())
        found[reached] = smallest.indices
        if len(found) > _STARTS:
            del found[max(found)]
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
        if min(found) - value <= 1e-9 * max(abs(value), 1.0) or slope == 0:
            break  # no choice is better than the best of those found
        length = scale * (min(found) - value) / slope
        multipliers = (multipliers + length * lack).clamp(-weight, weight)
    return best, best_multipliers, [found[value] for value in sorted(found)]


def pseudo_label_choice(utility: Tensor, labels: Tensor, targets: Tensor, budget: int) -> Tensor:
    """Take from every predicted class the share that would balance it, by utility (thesis sec. 4.4, Fig. 4.7).

    The thesis's comparison "Entropy L1 Pseudo Label": the class probabilities are replaced by hard labels. It does not
    say what happens to fractions and where a class has too few images: shares are the targets, scaled to b and rounded
    by largest remainders (ties to the first class), and what is lacking is filled with the images of highest utility.

    Args:
        utility: ``Float[N]``, higher is taken first; ties to the first image.
        labels: ``Long[N]`` predicted classes.
        targets: ``Float[C]``, see :func:`class_targets`.
        budget: b, in [0, N].

    Returns:
        ``Long[b]`` positions in N, by falling utility.
    """
    if not 0 <= budget <= len(utility):
        raise ValueError(f"budget must be in [0, {len(utility)}] images, got {budget}")
    order = torch.argsort(utility, descending=True, stable=True)
    shares = _whole_shares(targets, budget)
    taken = torch.zeros(len(utility), dtype=torch.bool, device=utility.device)
    for label, share in enumerate(shares):
        own = order[labels[order] == label]
        taken[own[:share]] = True
    taken[order[~taken[order]][: budget - int(taken.sum())]] = True
    return order[taken[order]]


def _whole_shares(targets: Tensor, budget: int) -> list[int]:
    """Divide b in the proportion of the targets (evenly where all are 0), in whole numbers."""
    total = float(targets.sum())
    exact = targets.double() * (budget / total) if total else torch.full_like(targets.double(), budget / len(targets))
    exact = exact.cpu()
    whole = (exact + 1e-9).floor()
    rest = torch.argsort(exact - whole, descending=True, stable=True)[: budget - int(whole.sum())]
    whole[rest] += 1
    return [int(share) for share in whole.tolist()]


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
