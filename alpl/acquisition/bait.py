"""BAIT (Ash, Goel, Krishnamurthy and Kakade 2021, Gone Fishing: Neural Active Learning with Fisher Embeddings)."""

from __future__ import annotations

import math
from typing import final

from alpl.acquisition.base import AbstractAcquisition, Context, Query
from alpl.acquisition.kcenter import image_and_labeled_features
from alpl.errors import ConfigError
from alpl.predictions import Form, Need
from alpl.selection.bait import WEIGHTS, Weights, bait


@final
class Bait(AbstractAcquisition):
    """The images that make the last layer's parameters certain where the pool needs them; for softmax classifiers.

    Args:
        regularization: see :func:`alpl.selection.bait.bait`, as all others.
        oversample: as there.
        weights: as there.
        memory_limit: as there.

    Raises:
        ConfigError: an argument is out of range.
    """

    needs = Need.IMAGE_FEATURES | Need.POSTERIOR | Need.LABELED

    def __init__(
        self,
        regularization: float = 1.0,
        oversample: float = 2.0,
        weights: Weights = "sum",
        memory_limit: int = 2**32,
    ) -> None:
        if not 0 < regularization < math.inf or not 1 <= oversample < math.inf:
            raise ConfigError(
                "acquisition.regularization must be finite and > 0 and oversample finite and >= 1, "
                f"got {regularization} and {oversample}"
            )
        if weights not in WEIGHTS:
            raise ConfigError(f"acquisition.weights must be one of {', '.join(WEIGHTS)}, got {weights!r}")
        self.regularization, self.oversample = regularization, oversample
        self.weights, self.memory_limit = weights, memory_limit

    def select(self, context: Context) -> Query:
        """See :func:`alpl.selection.bait.bait`; the utility is by how much each lowered the trace.

        Raises:
            ValueError: the posterior is not a softmax over classes, or the limit on the memory is too small.
        """
        features, labeled = image_and_labeled_features(context)
        posterior = context.posterior
        if posterior.form is not Form.SOFTMAX:
            raise ValueError(f"the posterior must be a softmax over classes for BAIT, got {posterior.form.value}")
        assert context.labeled is not None and context.labeled.posterior is not None, "Need.LABELED was declared"
        picks, gains = bait(
            *(features.cpu(), posterior.probs.cpu(), labeled.cpu(), context.labeled.posterior.probs.cpu()),
            context.budget,
            regularization=self.regularization,
            oversample=self.oversample,
            weights=self.weights,
            memory_limit=self.memory_limit,
        )
        return Query(context.pool.unlabeled[picks], gains)
