r"""k-means++ on gradient embeddings (BADGE, Ash et al. 2020).

Axes: U candidates, C classes, F features, b picks.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from alpl.selection.blocks import MEMORY_LIMIT
from alpl.selection.gradient_space import GradientSpace
from alpl.selection.spaces import AbstractSpace

FirstPick: TypeAlias = Literal["as_written", "as_released"]
FIRST_PICKS: tuple[str, ...] = get_args(FirstPick)

_EVERY = 64  # picks after which all bounds are lowered in one product
_GROUP = 16  # candidates that are settled at a time


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
    space: AbstractSpace, budget: int, generator: torch.Generator, start: int | None = None
) -> tuple[Tensor, Tensor]:
    r"""k-means++ seeding (Arthur and Vassilvitskii 2007): draw with probability proportional to the distance D^2.

    For each pick every candidate i draws an exponential time :math:`E_i`, and the first of :math:`E_i / D_i^2` is
    picked, which has probability :math:`D_i^2 / \sum_j D_j^2`. Where all distances are 0 the draw is uniform.

    So the distances of most candidates need not be known: an old distance bounds the time from below, and candidates
    are brought up to date in the order of their bounds until the first one is. The picks are those of the loop that
    brings all up to date. O(U) a pick, and products of O(U b W) altogether.

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
    squared: list[float] = []
    for _ in range(budget):
        times = torch.empty(number, dtype=torch.float64).exponential_(generator=generator)
        pick = start if start is not None and not picks else draws.first(times.to(device))
        picks.append(pick)
        squared.append(draws.take(pick))
    return torch.tensor(picks, dtype=torch.long, device=device), torch.tensor(squared, dtype=torch.float64)


class _Draws:
    """Distances to the nearest pick: exact for the picks that each candidate has seen, bounded for all."""

    def __init__(self, space: AbstractSpace) -> None:
        number = space.num_candidates
        self._space = space
        self._known = torch.full((number,), torch.inf, dtype=torch.float64, device=space.device)
        self._upper = self._known.clone()
        self._seen = torch.zeros(number, dtype=torch.long, device=space.device)
        self._free = torch.ones(number, dtype=torch.bool, device=space.device)
        self._picks = torch.empty(0, dtype=torch.long, device=space.device)

    def take(self, pick: int) -> float:
        """Add a pick; give the distance that it had."""
        self._picks = torch.cat([self._picks, torch.tensor([pick], device=self._picks.device)])
        self._free[pick] = False
        number = len(self._picks)
        if number == 1 or number % _EVERY == 0:
            self._upper = torch.minimum(self._upper, self._space.bound(self._picks[-_EVERY:]))
        return float(self._known[pick])

    def first(self, times: Tensor) -> int:
        """Give the candidate whose time, divided by its distance, is the least."""
        if not len(self._picks):
            return int(times.argmin())
        times = torch.where(self._free, times, torch.inf)
        keys = times / self._upper  # the time is above 0: infinite where the distance is 0
        while True:
            best = int(keys.argmin())
            if keys[best] == torch.inf:
                return int(times.argmin())
            if int(self._seen[best]) == len(self._picks):
                return best
            some = keys.topk(min(_GROUP, len(keys)), largest=False).indices
            self._settle(some[(self._seen[some] < len(self._picks)) & self._free[some]])
            keys[some] = times[some] / self._upper[some]

    def _settle(self, some: Tensor) -> None:
        since = int(self._seen[some].min())
        exact = self._space.settle(some, self._picks[since:], self._upper[some], self._known[some])
        self._known[some] = self._upper[some] = exact
        self._seen[some] = len(self._picks)
