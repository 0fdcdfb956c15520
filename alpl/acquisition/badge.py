"""BADGE: k-means++ on gradient embeddings (Ash et al. 2020, Deep Batch Active Learning by Diverse Gradients)."""

from __future__ import annotations

from typing import final

from alpl.acquisition.base import AbstractAcquisition, Context, Query
from alpl.errors import ConfigError
from alpl.predictions import Form, Need
from alpl.selection.badge import FIRST_PICKS, FirstPick, badge


@final
class Badge(AbstractAcquisition):
    """Images whose gradients are long and differ; for classifiers with a softmax.

    Args:
        first: the first pick: ``as_written`` uniform, as k-means++ has it; ``as_released`` the longest gradient.

    Raises:
        ConfigError: ``first`` is neither.
    """

    needs = Need.IMAGE_FEATURES | Need.POSTERIOR

    def __init__(self, first: FirstPick = "as_written") -> None:
        if first not in FIRST_PICKS:
            raise ConfigError(f"acquisition.first must be one of {', '.join(FIRST_PICKS)}, got {first}")
        self.first: FirstPick = first

    def select(self, context: Context) -> Query:
        """See :func:`alpl.selection.badge.badge`; the utility is the squared distance at which each was drawn.

        Raises:
            ValueError: the posterior is not a softmax over classes.
        """
        features, posterior = context.predictions.image_features, context.posterior
        assert features is not None, "Need.IMAGE_FEATURES was declared"
        if posterior.form is not Form.SOFTMAX:
            raise ValueError(f"the posterior must be a softmax over classes for BADGE, got {posterior.form.value}")
        picks, squared = badge(features, posterior.probs, context.budget, context.generator("badge"), first=self.first)
        return Query(context.predictions.index.cpu()[picks.cpu()], squared)
