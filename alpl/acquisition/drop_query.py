"""DropQuery (Gupte et al. 2024, Revisiting Active Learning in the Era of Vision Foundation Models)."""

from __future__ import annotations

import math
from typing import final

import torch

from alpl.acquisition.base import AbstractAcquisition, Context, Query
from alpl.errors import ConfigError
from alpl.machine.seeding import integer
from alpl.predictions import Need
from alpl.selection.dbal import diverse_mini_batch


@final
class DropQuery(AbstractAcquisition):
    r"""Images whose class changes under dropout, spread over the feature space; for classifiers.

    1. Candidates are the images of which more than half of the M dropout passes name another class than the network
       without dropout. Where they are fewer than b, which the paper leaves open, those of the next most passes join.
    2. Cluster them into b clusters by k-means, and take the nearest to each center; see
       :func:`alpl.selection.dbal.diverse_mini_batch`, with equal weights.

    The paper has M = 3 passes with three quarters of the features of a frozen backbone dropped
    (``model.network.dropout=0.75``); ensemble members serve as passes as well.

    Args:
        share: of the passes that must disagree with, exclusive, in [0, 1); 0.5 in the paper.
        iterations: of k-means, at most.

    Raises:
        ConfigError: an argument is out of range.
    """

    needs = Need.VIEWS | Need.POSTERIOR | Need.IMAGE_FEATURES

    def __init__(self, share: float = 0.5, iterations: int = 20) -> None:
        if not 0 <= share < 1:
            raise ConfigError(f"acquisition.share must be in [0, 1), got {share}")
        if iterations < 1:
            raise ConfigError(f"acquisition.iterations must be >= 1, got {iterations}")
        self.share, self.iterations = share, iterations

    def select(self, context: Context) -> Query:
        """Choose, in the order of index among equals; the utility is the share of passes that disagree.

        Raises:
            ValueError: the budget is negative or exceeds the unlabeled images.
        """
        features = context.predictions.image_features
        assert features is not None, "Need.IMAGE_FEATURES was declared"
        if not 0 <= context.budget <= len(features):
            raise ValueError(f"budget must be in [0, {len(features)}] images, got {context.budget}")
        said = context.posterior.foreground.argmax(-1)
        disagree = (context.views.foreground.argmax(-1) != said).double().mean(0).cpu()
        number = max(int((disagree > self.share).sum()), context.budget)
        candidates = disagree.argsort(descending=True, stable=True)[:number].sort().values
        seed = integer(context.generator("k-means"), 2**31 - 1)
        picks = diverse_mini_batch(
            features.cpu()[candidates],
            torch.ones(number),
            context.budget,
            prefilter=math.inf,
            seed=seed,
            iterations=self.iterations,
        )
        chosen = candidates[picks]
        return Query(context.pool.unlabeled[chosen], disagree[chosen], disagree)
