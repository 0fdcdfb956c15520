"""The loss that a loss prediction module expects (Yoo and Kweon 2019, "Learning Loss for Active Learning")."""

from __future__ import annotations

from typing import final

from torch import Tensor

from alpl.acquisition.base import AbstractRanking, Context
from alpl.predictions import Need


@final
class PredictedLoss(AbstractRanking):
    """Images whose training loss would be high, as a module beside the network predicts it (LLAL).

    The module is ``model.loss_prediction``; see :class:`alpl.networks.loss_prediction.LossPrediction`.
    """

    needs = Need.PREDICTED_LOSS

    def utility(self, context: Context) -> Tensor:
        """``Float[U]``: the predicted loss of each image."""
        predicted = context.predictions.predicted_loss
        assert predicted is not None, "Need.PREDICTED_LOSS was declared"
        return predicted
