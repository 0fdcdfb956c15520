r"""What each sample is worth to NORIS, given what is picked: its two algorithms, and greed on its two objectives.

Axes: N samples, b picks.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor


class AbstractScores(ABC):
    """What adding each sample to the picks would be worth; is told every pick with its similarities.

    Args:
        information: ``Float64[N]``, the values before any pick.
        budget: how many picks there will be.
    """

    def __init__(self, information: Tensor, budget: int) -> None:
        self.information, self.budget = information, budget
        self.values = information.clone()
        self.free = torch.ones_like(information, dtype=torch.bool)

    @abstractmethod
    def update(self, pick: int, similarity: Tensor) -> None:
        """Bring the values up to date with a pick, which is no longer free."""


@final
class SumScores(AbstractScores):
    """Algorithm 1: every unpicked sample loses the pick's value, reduced as it is by then, times the similarity."""

    def update(self, pick: int, similarity: Tensor) -> None:
        """See the base class."""
        self.values = torch.where(self.free, self.values - similarity * self.values[pick], self.values)


@final
class MaxScores(AbstractScores):
    """Algorithm 2: the unpicked sample most similar to the pick, the first of equal ones, loses alone."""

    def update(self, pick: int, similarity: Tensor) -> None:
        """See the base class."""
        if bool(self.free.any()):
            closest = torch.where(self.free, similarity, -1.0).argmax()
            self.values[closest] -= similarity[closest] * self.values[pick]


@final
class Equation7Scores(AbstractScores):
    r"""Greedy on Eq. 7: :math:`\sigma(x) - \sum_{v \in S} sim(x, v) [\sigma(v) + \sigma(x)]`."""

    def update(self, pick: int, similarity: Tensor) -> None:
        """See the base class."""
        self.values = self.values - similarity * (self.information[pick] + self.information)


@final
class Equation8Scores(AbstractScores):
    r"""Greedy on Eq. 8, where each pick u loses to :math:`v_c`, the pick most similar to it, the first of equal ones.

    A new pick x is worth :math:`\sigma(x) - sim(x, v_c) \sigma(v_c)`, less what it costs the picks u that would lose to
    it from then on: :math:`sim(u, x) \sigma(x)` each, instead of what they lose now. That cost changes with a pick u's
    loss only, which is when it is picked and when a later pick is the closest so far. So each pick costs a few O(N).
    """

    def __init__(self, information: Tensor, budget: int) -> None:
        super().__init__(information, budget)
        self._rows = information.new_empty(self.budget, len(information))
        self._closest = information.new_full((self.budget,), -math.inf)  # sim(u, v_c) of the picks
        self._loss = information.new_zeros(self.budget)
        self._picks: list[int] = []
        self._nearest = torch.full_like(information, -math.inf)  # sim(x, v_c) of all samples
        self._own_loss = torch.zeros_like(information)
        self._cost = torch.zeros_like(information)

    def update(self, pick: int, similarity: Tensor) -> None:
        """See the base class."""
        number = len(self._picks)
        at_picks = self._rows[:number, pick]
        for changed in (at_picks > self._closest[:number]).nonzero().flatten().tolist():
            before = self._cost_of(changed)
            self._closest[changed] = self._rows[changed, pick]
            self._loss[changed] = self._rows[changed, pick] * self.information[pick]
            self._cost += self._cost_of(changed) - before
        self._rows[number] = similarity
        self._picks.append(pick)
        self._closest[number], self._loss[number] = self._nearest[pick], self._own_loss[pick]
        self._cost += self._cost_of(number)
        closer = similarity > self._nearest
        self._nearest = torch.where(closer, similarity, self._nearest)
        self._own_loss = torch.where(closer, similarity * self.information[pick], self._own_loss)
        self.values = self.information - self._own_loss - self._cost

    def _cost_of(self, number: int) -> Tensor:
        """``Float64[N]``: what each sample would cost the pick of this number."""
        similarity = self._rows[number]
        return torch.where(similarity > self._closest[number], similarity * self.information - self._loss[number], 0.0)
