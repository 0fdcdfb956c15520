"""Shannon entropy of the posterior, summed over the classes (thesis Eq. 4.6; Shannon 1948)."""

from __future__ import annotations

from typing import final

from torch import Tensor

from alpl.acquisition.base import AbstractRanking, Context
from alpl.predictions import Need, uncertainty


@final
class Entropy(AbstractRanking):
    """Shannon entropy of the posterior, summed over the classes (thesis Eq. 4.6; Shannon 1948)."""

    needs = Need.POSTERIOR

    def utility(self, context: Context) -> Tensor:
        """``Float[U]``, see :func:`alpl.predictions.uncertainty.entropy`."""
        return uncertainty.entropy(context.posterior)
