"""The search for class-balanced selection: many descents by exchanges, of which the best is kept.

A descent begins at the rounding of the dual, shaken at the border, and lowers step by step what the reduced costs count
beyond their worth. So exchanges of images near the border, which cost next to nothing, are used up before dearer ones
are; without that a descent ends 10 to 25 % higher above the bound. The ends spread by 5 %: hence many descents.

How far this can go: an exchange of two images changes what the targets lack by a vector of some length m in C
dimensions, whose direction is as good as random. Of M pairs the best points towards a lack of length r by a cosine of
about sqrt(2 ln M / C), and helps only where this is above m / 2 r. So r ends near m / 2 sqrt(2 ln M / C), whatever is
exchanged at once, and thousands of times the work lower it by a few per cent only. So the search ends when descents no
longer pay. It counts descents, not seconds, so that every machine chooses the same.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from alpl.selection.exchange import Exchange, State

_DESCENTS = 360  # at most
_PATIENCE, _GAIN = (
    20,
    0.01,
)  # descents after which it ends, where they lowered what is above the bound by less than this
_TOLLS = (*(80 * 0.8**step for step in range(20)), 1.0)  # 80, 64, ..., 1.15, 1
_SHAKEN, _NEAR = 100, 200  # pairs, and images on either side of the border of which they are
_NARROW, _WIDE = (100, 64), (600, 1000)  # width and measured pairs of a descent, and of those that end low
_LOW = 0.05  # so far above the lowest end, as a share of what is above the bound, a descent ends low
_SETTLED = 8  # of the lowest, settled over all pairs


class Found(NamedTuple):
    """What the search came to."""

    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody asks of a choice
    """``Long[b]``: the best choice, ascending."""
    descents: int
    """How many there were."""


def search(exchange: Exchange, bound: float, enough: float) -> Found:
    """Give the best choice found; the same in every run.

    Args:
        exchange: at the choice to begin with.
        bound: no choice has an :attr:`Exchange.value` below this.
        enough: the value at which to stop.
    """
    start, random = exchange.state, torch.Generator().manual_seed(0)
    ends: list[tuple[float, int, State]] = []
    lowest: list[float] = []  # after each descent
    for number in range(_DESCENTS):
        exchange.restore(start)
        if number:
            exchange.shake(_SHAKEN, _NEAR, random)
        for toll in _TOLLS:
            exchange.descend(toll, *_NARROW)
        if len(ends) < _SETTLED or exchange.value < ends[-1][0] + _LOW * (ends[0][0] - bound):
            exchange.descend(1.0, *_WIDE)
            ends = sorted([*ends, (exchange.value, number, exchange.state)], key=lambda end: end[:2])[:_SETTLED]
        lowest.append(ends[0][0])
        if ends[0][0] <= enough or _no_longer_pays(lowest, bound):
            break
    best, index = math.inf, torch.empty(0)
    for value, _, state in ends:
        exchange.restore(state)
        if value > enough:
            exchange.settle()
        if exchange.value < best:
            best, index = exchange.value, exchange.index
    return Found(index, len(lowest))


def _no_longer_pays(lowest: list[float], bound: float) -> bool:
    """Whether the last descents lowered what is above the bound by next to nothing."""
    if len(lowest) <= _PATIENCE:
        return False
    before = lowest[-1 - _PATIENCE]
    return before - lowest[-1] < _GAIN * (before - bound)
