"""BALD: mutual information between prediction and parameters (Houlsby et al. 2011; Gal et al. 2017)."""

from __future__ import annotations

from typing import final

from torch import Tensor

from alpl.acquisition.base import AbstractRanking, Context
from alpl.predictions import Need, uncertainty


@final
class Bald(AbstractRanking):
    """BALD over the views that the model gives: dropout passes, or the members of an ensemble."""

    needs = Need.VIEWS

    def utility(self, context: Context) -> Tensor:
        """``Float[U]``, see :func:`alpl.predictions.uncertainty.mutual_information`."""
        return uncertainty.mutual_information(context.views)
