r"""k-center greedy with class balance (thesis Algorithm 2).

Axes: N unlabeled images, L centers, F features, C classes, b picks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from alpl.neighbors import squared_distance_to_nearest

_SETTLED = 64  # candidates whose distances are brought up to date at a time
_PAIR_VALUES = 2**22  # differences in memory at a time


def balanced_kcenter(
    features: Tensor, centers: Tensor, probs: Tensor, targets: Tensor, weight: float, budget: int
) -> tuple[Tensor, Tensor]:
    r"""Pick one image after the other, far from all centers and picks and of a class that is lacking.

    .. math:: \psi = \arg\min_j \; -d_j + \lambda \lVert \Omega - P_j - \sum_{i \in s} P_i \rVert_1

    with the distance d to the nearest center or pick and the picks s (thesis Algorithm 2; in its line 5 the picked
    sample leaves Q). First index on ties. Without centers all distances are 0 until the first pick.

    The picks are those of the obvious algorithm. A distance only falls as picks are added, so an old one bounds a
    candidate's cost from below, and only candidates that may be the least are brought up to date. Since
    :math:`0 \le P \le 1` and what is lacking only falls, a class enters the norm as an absolute value only while its
    lack is in (0, 1); before and after it is a sum that is kept. O(N) and O(N · classes in between) a pick.

    Args:
        features: ``Float[N F]``.
        centers: ``Float[L F]``.
        probs: ``Float[N C]``, P.
        targets: ``Float[C]``, Omega, see :func:`alpl.selection.class_balance.class_targets`.
        weight: lambda, >= 0.
        budget: b.

    Returns:
        ``Long[b]`` picks in order, and ``Float64[b]`` the distance of each when it was picked.

    Raises:
        ValueError: shapes do not fit, a value is not finite, or ``weight`` or ``budget`` is out of range.
    """
    _check(features, centers, probs, targets, weight, budget)
    features = features.float()
    lack = _Lack(probs.double(), targets.double())
    squared = squared_distance_to_nearest(features, centers.float()).double()
    if not len(centers):
        squared.zero_()
    seen = torch.zeros(len(features), dtype=torch.long, device=features.device)  # picks that ``squared`` knows of
    free = torch.ones(len(features), dtype=torch.bool, device=features.device)
    picks: list[int] = []
    distances: list[float] = []
    for _ in range(budget):
        balance = weight * lack.norms()
        least = torch.where(free, balance - squared.sqrt(), math.inf)
        while int(seen[best := int(least.argmin())]) < len(picks):
            stale = torch.where(seen < len(picks), least, math.inf)
            some = stale.topk(min(_SETTLED, len(stale)), largest=False).indices
            some = some[(seen[some] < len(picks)) & free[some]]
            squared[some] = _settle(features, some, squared[some], picks, int(seen[some].min()), not len(centers))
            seen[some] = len(picks)
            least[some] = balance[some] - squared[some].sqrt()
        picks.append(best)
        distances.append(float(squared[best].sqrt()))
        free[best] = False
        lack.take(best)
    return torch.tensor(picks, dtype=torch.long, device=features.device), torch.tensor(distances, dtype=torch.float64)


def _settle(
    features: Tensor, some: Tensor, squared: Tensor, picks: list[int], since: int, starts_empty: bool
) -> Tensor:
    """Bring the squared distances of some candidates up to date with the picks from number ``since``."""
    if starts_empty and since == 0:
        squared = torch.full_like(squared, math.inf)
    ours = features[some]
    size = max(1, _PAIR_VALUES // max(ours.numel(), 1))
    for others in torch.tensor(picks[since:], device=features.device).split(size):
        pairs = (ours[:, None] - features[others]).square_().sum(-1)
        squared = torch.minimum(squared, pairs.amin(1).double())
    return squared


class _Lack:
    """``||R - P_j||_1`` for every image j, where R is what is lacking: the targets less the sum of the picks."""

    def __init__(self, probs: Tensor, targets: Tensor) -> None:
        self._probs = probs
        self._rest = targets.clone()
        self._above = targets >= 1  # there R - p is >= 0 for every probability p
        self._below = targets <= 0
        self._sum_above = probs[:, self._above].sum(1)
        self._sum_below = probs[:, self._below].sum(1)

    def norms(self) -> Tensor:
        """``Float64[N]``."""
        between = (~self._above & ~self._below).nonzero().flatten()
        known = self._rest[self._above].sum() - self._sum_above + self._sum_below - self._rest[self._below].sum()
        return known + (self._rest[between] - self._probs[:, between]).abs().sum(1)

    def take(self, pick: int) -> None:
        """Subtract the pick, and move the classes whose lack left its range."""
        self._rest = self._rest - self._probs[pick]
        falls = self._above & (self._rest < 1)
        sinks = ~self._below & (self._rest <= 0)
        if bool(falls.any()):
            self._above = self._above & ~falls
            self._sum_above = self._probs[:, self._above].sum(1)
        if bool(sinks.any()):
            self._below = self._below | sinks
            self._sum_below = self._probs[:, self._below].sum(1)


def _check(features: Tensor, centers: Tensor, probs: Tensor, targets: Tensor, weight: float, budget: int) -> None:
    number = len(features)
    if features.ndim != 2 or centers.ndim != 2 or features.shape[1] != centers.shape[1]:
        shapes = f"{list(features.shape)} and {list(centers.shape)}"
        raise ValueError(f"features and centers must be [N F] and [L F], got {shapes}")
    if probs.shape != (number, len(targets)) or targets.ndim != 1:
        raise ValueError(
            f"probs and targets must be [{number} C] and [C], got {list(probs.shape)}, {list(targets.shape)}"
        )
    for name, values in (("features", features), ("centers", centers), ("probs", probs), ("targets", targets)):
        if not bool(values.isfinite().all()):
            raise ValueError(f"{name} must be finite, got NaN or infinite values")
    if number and not (float(probs.min()) >= 0 and float(probs.max()) <= 1):
        raise ValueError(f"probs must be in [0, 1], got {float(probs.min())} to {float(probs.max())}")
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"weight must be finite and >= 0, got {weight}")
    if not 0 <= budget <= number:
        raise ValueError(f"budget must be in [0, {number}] images, got {budget}")
