"""Oracle: images that the model gets wrong, by the true labels. An upper bound, not a method (thesis sec. 3.3.2)."""

from __future__ import annotations

from typing import final

from torch import Tensor

from alpl.acquisition.base import AbstractRanking, Context
from alpl.predictions import Need


@final
class Oracle(AbstractRanking):
    """Misclassified images first, in random order; then, if the budget asks for more, the others."""

    needs = Need.POSTERIOR | Need.TARGETS

    def utility(self, context: Context) -> Tensor:
        """``Float[U]``: 1 where the predicted class is wrong, else 0."""
        predicted, targets = context.posterior.probs.argmax(-1), context.targets
        assert isinstance(targets, Tensor), "Need.TARGETS was declared, and a classifier has one class an image"
        return (predicted != targets.to(predicted.device)).double()
