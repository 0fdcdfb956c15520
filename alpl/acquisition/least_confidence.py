"""Least confidence: one minus the largest probability (Lewis and Gale 1994)."""

from __future__ import annotations

from typing import final

from torch import Tensor

from alpl.acquisition.base import AbstractRanking, Context
from alpl.predictions import Need, uncertainty


@final
class LeastConfidence(AbstractRanking):
    """Least confidence: one minus the largest probability (Lewis and Gale 1994)."""

    needs = Need.POSTERIOR

    def utility(self, context: Context) -> Tensor:
        """``Float[U]``, see :func:`alpl.predictions.uncertainty.least_confidence`."""
        return uncertainty.least_confidence(context.posterior)
