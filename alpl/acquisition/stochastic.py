"""Any ranking as a seeded draw without replacement, PowerBALD among them (Kirsch et al. 2023)."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, final, get_args

import torch
from torch import Tensor

from alpl.acquisition.base import AbstractAcquisition, Context, Query, check_ranking, choose_highest
from alpl.errors import ConfigError

Chances: TypeAlias = Literal["power", "softmax", "softrank"]


@final
class Stochastic(AbstractAcquisition):
    r"""Images drawn one after the other, with chances that rise with a ranking's utility s.

    A batch of the highest utilities may hold the same image many times over; a draw does not (Kirsch et al. 2023,
    Stochastic Batch Acquisition: A Simple Baseline for Deep Active Learning, TMLR).

    ======== ========================================= ================================
    chances  probability of an image                   highest of, with Gumbel noise e
    ======== ========================================= ================================
    power    :math:`p_i \propto s_i^\beta`             :math:`\ln s_i + e_i / \beta`
    softmax  :math:`p_i \propto \exp(\beta s_i)`       :math:`s_i + e_i / \beta`
    softrank :math:`p_i \propto r_i^{-\beta}`          :math:`-\ln r_i + e_i / \beta`
    ======== ========================================= ================================

    with the descending rank :math:`r_i \ge 1` (ties by index). The b highest of the perturbed values are a draw without
    replacement (Kool et al. 2019). With ``power`` what is worth 0 comes when all else is drawn.

    Args:
        ranking: of images or objects; PowerBALD's is BALD. Its utility is the query's.
        beta: how strongly the utility counts: 0 is a uniform draw; 1 in the paper.
        chances: ``power``, ``softmax`` or ``softrank``.

    Raises:
        ConfigError: ``ranking`` is a set method, ``beta`` is not finite and >= 0, or ``chances`` is unknown.
    """

    def __init__(self, ranking: AbstractAcquisition, beta: float = 1.0, chances: Chances = "power") -> None:
        self.ranking = check_ranking(ranking, "ranking")
        if not (math.isfinite(beta) and beta >= 0):
            raise ConfigError(f"acquisition.beta must be finite and >= 0, got {beta}")
        if chances not in get_args(Chances):
            raise ConfigError(f"acquisition.chances must be one of {', '.join(get_args(Chances))}, got {chances!r}")
        self.beta, self.chances = beta, chances
        self.needs, self.image_layers = ranking.needs, ranking.image_layers

    def select(self, context: Context) -> Query:
        """Draw, in the order of the draw.

        Raises:
            ValueError: a utility is not finite, or negative where ``chances`` is ``power``.
        """
        valued = self.ranking.valued(context)
        utility = valued.images.detach().cpu().double()
        name = type(self.ranking).__name__
        choose_highest(name, utility, context)  # refuses what is no utility
        if self.chances == "power" and len(utility) and float(utility.min()) < 0:
            raise ValueError(f"{name}.utility must not be negative for chances power, got {float(utility.min()):.6g}")
        race = torch.empty(len(utility), dtype=torch.float64).exponential_(generator=context.generator("stochastic"))
        noise = -race.clamp_(min=torch.finfo(torch.float64).tiny).log()
        drawn = choose_highest(name, self.beta * self._logits(utility) + noise, context)
        positions = torch.searchsorted(context.pool.unlabeled, drawn.index)
        return Query(drawn.index, utility[positions], utility, valued.objects)

    def _logits(self, utility: Tensor) -> Tensor:
        """``Float64[U]``, finite."""
        if self.chances == "softmax":
            return utility
        if self.chances == "power":
            return utility.log().clamp(min=_NEVER)
        rank = torch.empty_like(utility)
        rank[utility.argsort(descending=True, stable=True)] = torch.arange(1, len(utility) + 1, dtype=torch.float64)
        return -rank.log()


_NEVER = -1e6  # the logarithm of 0: below that of any float64 by more than any noise
