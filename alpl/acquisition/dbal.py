"""DBAL: weighted k-means on the most informative images (Zhdanov 2019, Diverse mini-batch Active Learning)."""

from __future__ import annotations

from typing import final

import torch

from alpl.acquisition.base import AbstractAcquisition, Context, Query, check_ranking
from alpl.errors import ConfigError
from alpl.predictions import Need
from alpl.selection.dbal import diverse_mini_batch


@final
class Dbal(AbstractAcquisition):
    r"""Images that a ranking values, spread over the feature space as the valued ones are.

    Args:
        ranking: whose utility, not negative, is the informativeness, of images or reduced from objects; the paper has
            the margin. Its utility is the query's.
        prefilter: :math:`\beta`: images clustered for each image chosen; 10 and 50 in the paper.
        iterations: of k-means, at most.

    Raises:
        ConfigError: ``ranking`` is a set method, or a number is below 1.
    """

    def __init__(self, ranking: AbstractAcquisition, prefilter: float = 10.0, iterations: int = 20) -> None:
        if not prefilter >= 1 or iterations < 1:
            raise ConfigError(
                f"acquisition.prefilter and iterations must be at least 1, got {prefilter} and {iterations}"
            )
        self.ranking = check_ranking(ranking, "ranking")
        self.prefilter, self.iterations = prefilter, iterations
        self.needs = ranking.needs | Need.IMAGE_FEATURES

    def select(self, context: Context) -> Query:
        """See :func:`alpl.selection.dbal.diverse_mini_batch`; in the order of utility."""
        features = context.predictions.image_features
        assert features is not None, "Need.IMAGE_FEATURES was declared"
        valued = self.ranking.valued(context)
        utility = valued.images.detach().cpu().double()
        seed = int(torch.randint(2**31 - 1, (1,), generator=context.generator("k-means")))
        picks = diverse_mini_batch(
            features.cpu(), utility, context.budget, prefilter=self.prefilter, seed=seed, iterations=self.iterations
        )
        return Query(context.pool.unlabeled[picks], utility[picks], utility, valued.objects)
