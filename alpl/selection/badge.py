r"""k-means++ on gradient embeddings (BADGE, Ash et al. 2020).

Axes: U candidates, C classes, F features, b picks.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from alpl.selection.blocks import MEMORY_LIMIT
from alpl.selection.gradient_space import GradientSpace
from alpl.selection.product_spaces import AbstractProductSpace

FirstPick: TypeAlias = Literal["as_written", "as_released"]
FIRST_PICKS: tuple[str, ...] = get_args(FirstPick)

_EVERY = 64  # picks after which all bounds are lowered in one product, where the points are not held
_GROUP = 16  # candidates that are bounded or settled at a time
_BLOCK = 32  # picks whose distances to each other are computed at once


def badge(
    features: Tensor,
    probs: Tensor,
    budget: int,
    generator: torch.Generator,
    *,
    first: FirstPick = "as_written",
    memory_limit: int = MEMORY_LIMIT // 8,
) -> tuple[Tensor, Tensor]:
    r"""Draw b different candidates by k-means++ on their gradient embeddings (Ash et al. 2020, Algorithm 1).

    :math:`g = (p - e_{\hat y}) \otimes h` with the predicted class :math:`\hat y`; see
    :class:`alpl.selection.gradient_space.GradientSpace`. For the draws see :func:`draw_by_distance`.

    Args:
        features: ``Float[U F]``, h: what the last layer sees.
        probs: ``Float[U C]``, p.
        budget: b.
        generator: of the draws, on the CPU.
        first: ``as_written``: k-means++, the first pick is uniform; ``as_released``: the longest gradient, first index
            on ties.
        memory_limit: bytes for blocks, beside U (4 C + 32).

    Returns:
        ``Long[b]`` picks in order, and ``Float64[b]`` the squared distance to the nearest earlier pick; for the first
        pick its squared length.

    Raises:
        ValueError: shapes do not fit, a value is not finite, or ``budget`` or ``first`` is not possible.
    """
    if first not in FIRST_PICKS:
        raise ValueError(f"first must be one of {', '.join(FIRST_PICKS)}, got {first!r}")
    space = GradientSpace(features, probs, memory_limit)
    start = int(space.norms.argmax()) if first == "as_released" and len(features) else None
    picks, squared = draw_by_distance(space, budget, generator, start)
    if budget:
        squared[0] = space.norms[picks[0]]
    return picks, squared


def draw_by_distance(
    space: AbstractProductSpace, budget: int, generator: torch.Generator, start: int | None = None
) -> tuple[Tensor, Tensor]:
    r"""k-means++ seeding (Arthur and Vassilvitskii 2007): draw with probability proportional to the distance D^2.

    For each pick every candidate i draws an exponential time :math:`E_i`, and the first of :math:`E_i / D_i^2` is
    picked, which has probability :math:`D_i^2 / \sum_j D_j^2`. Where all distances are 0 the draw is uniform.

    So distances need not be known, only bounded: products in float32 bound the times of all candidates, and the first
    is picked where it is the first within all bounds; those for which it is not certain are settled in the exact
    arithmetic. Where the points fit half of the memory limit, all bounds are lowered after each pick. Otherwise an old
    bound counts, and candidates are brought up to date in the order of their times until the first one is. The picks
    are those of the loop that knows all distances. O(U) a pick, and products of O(U b W) altogether.

    Args:
        space: with squared distances, without centers.
        budget: b.
        generator: on the CPU.
        start: the first pick; a uniform draw where absent.

    Returns:
        ``Long[b]`` picks in order, and ``Float64[b]`` D^2 at each draw, infinite for the first.

    Raises:
        ValueError: ``budget`` exceeds U.
    """
    number, device = space.num_candidates, space.device
    if not 0 <= budget <= number:
        raise ValueError(f"budget must be in [0, {number}] candidates, got {budget}")
    draws = _Draws(space)
    picks: list[int] = []
    for _ in range(budget):
        times = torch.empty(number, dtype=torch.float64).exponential_(generator=generator)
        pick = start if start is not None and not picks else draws.first(times.to(device))
        picks.append(pick)
        draws.take(pick)
    index = torch.tensor(picks, dtype=torch.long, device=device)
    return index, _at_their_draws(space, index)


def _at_their_draws(space: AbstractProductSpace, picks: Tensor) -> Tensor:
    """``Float64[b]``, on the CPU: exact distances of each pick to the nearest earlier one."""
    squared = torch.full((len(picks),), torch.inf, dtype=torch.float64, device=space.device)
    for start in range(0, len(picks), _BLOCK):
        rows, found = picks[start : start + _BLOCK], squared[start : start + _BLOCK]
        if start:
            found.copy_(space.settle(rows, picks[:start], found, found))
        later, earlier = torch.tril_indices(len(rows), len(rows), -1, device=space.device)
        found.scatter_reduce_(0, later, space.distances(rows[later], rows[earlier]), "amin")
    return squared.cpu()


class _Draws:
    """Bounds of the distances to the nearest of the picks that each candidate has seen; 0 for the picks."""

    def __init__(self, space: AbstractProductSpace) -> None:
        number, device = space.num_candidates, space.device
        self._space = space
        self._lower, self._upper = torch.full((2, number), torch.inf, dtype=torch.float64, device=device)
        self._seen = torch.zeros(number, dtype=torch.long, device=device)
        self._free = torch.ones(number, dtype=torch.bool, device=device)
        self._picks = torch.empty(0, dtype=torch.long, device=device)
        is_held = 8 * number * space.width <= space.memory_limit  # and as much while it is made
        self._all = space.between(torch.arange(number, device=device)) if is_held and number else None

    def take(self, pick: int) -> None:
        """Add a pick."""
        self._picks = torch.cat([self._picks, torch.tensor([pick], device=self._picks.device)])
        self._free[pick] = False
        self._lower[pick] = self._upper[pick] = 0.0
        number = len(self._picks)
        if self._all:
            self._lower_to(slice(None), *self._all(self._picks[-1:]))
        elif number == 1 or number % _EVERY == 0:
            self._lower_to(slice(None), *self._space.bounds(self._picks[-_EVERY:]))

    def first(self, times: Tensor) -> int:
        """Give the candidate whose time, divided by its distance, is the least."""
        if not len(self._picks):
            return int(times.argmin())
        keys = times / self._upper  # the time is above 0: infinite where the distance is 0
        while True:
            best = int(keys.argmin())
            if keys[best] == torch.inf:
                return int(torch.where(self._free, times, torch.inf).argmin())
            is_bounded = int(self._seen[best]) == len(self._picks)
            # at the latest; rounding keeps the order of quotients
            latest = times[best] / self._lower[best] if self._lower[best] != self._upper[best] else keys[best]
            # where it is exact, the first of equal ones
            if is_bounded and (latest == keys[best] or int((keys <= latest).sum()) == 1):
                return best
            some = keys.topk(min(_GROUP, len(keys)), largest=False).indices
            if is_bounded:
                some = some[keys[some] <= latest]
                self._settle(some)
            else:
                some = some[(self._seen[some] < len(self._picks)) & self._free[some]]
                between = self._space.between(some)
                self._lower_to(some, *between(self._picks[int(self._seen[some].min()) :]))
            keys[some] = times[some] / self._upper[some]

    def _settle(self, some: Tensor) -> None:
        upper = self._upper[some]
        exact = self._space.settle(some, self._picks, upper, upper)
        self._lower[some] = self._upper[some] = exact
        self._seen[some] = len(self._picks)

    def _lower_to(self, some: Tensor | slice, lower: Tensor, upper: Tensor) -> None:
        """Take over bounds of the distances to all picks that some candidates have not seen."""
        self._lower[some] = lower.minimum(self._lower[some])
        self._upper[some] = upper.minimum(self._upper[some])
        self._seen[some] = len(self._picks)
