"""Margin sampling: the smallest difference of the two largest probabilities (thesis sec. 3.4.1)."""

from __future__ import annotations

from typing import final

from torch import Tensor

from alpl.acquisition.base import AbstractRanking, Context
from alpl.predictions import Need, uncertainty


@final
class Margin(AbstractRanking):
    """Margin sampling: the smallest difference of the two largest probabilities (thesis sec. 3.4.1)."""

    needs = Need.POSTERIOR

    def utility(self, context: Context) -> Tensor:
        """``Float[U]``, see :func:`alpl.predictions.uncertainty.margin`."""
        return uncertainty.margin(context.posterior)
