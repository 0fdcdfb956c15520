"""Two stages: the candidates that one acquisition prefers, then another one's choice among them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, final

from alpl.acquisition.base import AbstractAcquisition, Context, Query, Stage
from alpl.errors import ConfigError
from alpl.machine.seeding import derive_seed

_RELEASED_MULTIPLE = 8  # images that the released code's machines share


@final
class Then(AbstractAcquisition):
    r"""The :math:`\delta b` images that ``first`` prefers, then the b of them that ``second`` chooses (PPAL sec. 3.2).

    For the second stage all other unlabeled images take no part, and in a run what it needs is predicted for the
    candidates alone. What is labeled it sees as the first does.

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
        candidates = min(self._num_candidates(context.budget), number)
        preferred = self.first.select(replace(context, budget=candidates))
        left = context.among(preferred.index.sort().values)
        chosen = self.second.select(replace(left, seed=derive_seed(context.seed, "then")))
        return Query(chosen.index, chosen.utility, preferred.pool_utility, preferred.object_utility)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Those of ``first``, for the candidates, then those of ``second``: :meth:`select`, one look at a time."""
        narrow = (replace(stage, number=_after(self._num_candidates, stage.number)) for stage in self.first.stages)
        deeper = (replace(stage, depth=stage.depth + 1) for stage in self.second.stages)
        return (*narrow, *deeper)

    def _num_candidates(self, budget: int) -> int:
        wanted = math.ceil(self.ratio * budget)
        if self.rounding == "up":
            return wanted
        return (wanted // _RELEASED_MULTIPLE + 1) * _RELEASED_MULTIPLE


def _after(outer: Callable[[int], int], inner: Callable[[int], int]) -> Callable[[int], int]:
    return lambda budget: inner(outer(budget))
