"""Images that look unlabeled to a partner that learned to tell them from labeled ones (VAAL)."""

from __future__ import annotations

from typing import final

from torch import Tensor

from alpl.acquisition.base import AbstractRanking, Context
from alpl.predictions import Need


@final
class Vaal(AbstractRanking):
    """What is taken for labeled with the lowest certainty (thesis sec. 3.4.1; Sinha et al. 2019, Alg. 2).

    The partner is :class:`alpl.modules.vaal.VaalPartner`, or any other that answers the same. Under class balance
    (thesis Eq. 4.9) the cost of an image is its labeledness u: that of :class:`ClassBalanced`, -utility = u - 1, has
    the same smallest choices, as every choice has as many images.
    """

    needs = Need.LABELEDNESS

    def utility(self, context: Context) -> Tensor:
        """``Float[U]`` in [0, 1]: one minus how labeled an image looks; in double, or what looks least is all one."""
        labeledness = context.predictions.labeledness
        assert labeledness is not None, "Need.LABELEDNESS was declared"
        return 1 - labeledness.double()
