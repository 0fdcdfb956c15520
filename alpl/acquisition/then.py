"""Two stages: the candidates that one acquisition prefers, then another one's choice among them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal, final

import torch

from alpl.acquisition.base import AbstractAcquisition, Context, Query
from alpl.errors import ConfigError
from alpl.machine.seeding import derive_seed
from alpl.pool import EXCLUDED, UNLABELED, Pool

_RELEASED_MULTIPLE = 8  # images that the released code's machines share


@final
class Then(AbstractAcquisition):
    r"""The :math:`\delta b` images that ``first`` prefers, then the b of them that ``second`` chooses (PPAL sec. 3.2).

    For the second stage all other unlabeled images take no part, and only the candidates' predictions are there. What
    is labeled it sees as the first does.

    Args:
        first: usually a ranking. Its utilities go to the report.
        second: usually a set method.
        ratio: :math:`\delta \ge 1`, the "budget expanding ratio".
        rounding: ``up`` to a whole image. ``as_released``: to the next multiple of 8 above :math:`\delta b`, 8 more
            where it is one already.

    Raises:
        ConfigError: ``ratio`` is not finite and >= 1, ``rounding`` is unknown, or a stage is no acquisition.
    """

    def __init__(
        self,
        first: AbstractAcquisition,
        second: AbstractAcquisition,
        ratio: float = 4.0,
        rounding: Literal["up", "as_released"] = "up",
    ) -> None:
        if not (math.isfinite(ratio) and ratio >= 1):
            raise ConfigError(f"acquisition.ratio must be finite and >= 1, got {ratio}")
        if rounding not in ("up", "as_released"):
            raise ConfigError(f"acquisition.rounding must be up or as_released, got {rounding!r}")
        for name, stage in (("first", first), ("second", second)):
            if not isinstance(stage, AbstractAcquisition):
                raise ConfigError(f"acquisition.{name} must be an acquisition, got {type(stage).__name__}")
        self.first, self.second = first, second
        self.ratio, self.rounding = ratio, rounding
        self.needs = first.needs | second.needs
        self.image_layers = first.image_layers | second.image_layers

    def select(self, context: Context) -> Query:
        """Choose in two stages; order and utility are those of the second.

        Raises:
            ValueError: the budget exceeds the unlabeled images; or see the two stages.
        """
        number = len(context.pool.unlabeled)
        if not 0 <= context.budget <= number:
            raise ValueError(f"budget must be in [0, {number}] images, got {context.budget}")
        preferred = self.first.select(replace(context, budget=min(self._num_candidates(context.budget), number)))
        chosen = self.second.select(self._among(context, preferred.index.sort().values))
        return Query(chosen.index, chosen.utility, preferred.pool_utility, preferred.object_utility)

    def _num_candidates(self, budget: int) -> int:
        wanted = math.ceil(self.ratio * budget)
        if self.rounding == "up":
            return wanted
        return (wanted // _RELEASED_MULTIPLE + 1) * _RELEASED_MULTIPLE

    def _among(self, context: Context, candidates: torch.Tensor) -> Context:
        """Give the context in which only the candidates are unlabeled."""
        unlabeled = context.pool.unlabeled
        positions = torch.searchsorted(unlabeled, candidates)
        cycle = context.pool.cycle.clone()
        cycle[unlabeled] = EXCLUDED
        cycle[candidates] = UNLABELED
        predictions = context.unlabeled
        return replace(
            context,
            pool=Pool(cycle),
            seed=derive_seed(context.seed, "then"),  # two stages of one kind must not draw the same numbers
            unlabeled=None if predictions is None else predictions.take(positions.to(predictions.row.device)),
            history=None if context.history is None else context.history[:, positions.numpy()],
            targets=None if context.targets is None else context.targets[positions],
        )
