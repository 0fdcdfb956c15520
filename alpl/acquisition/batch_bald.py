"""BatchBALD (Kirsch, van Amersfoort and Gal 2019, Efficient and Diverse Batch Acquisition)."""

from __future__ import annotations

from typing import final

from alpl.acquisition.base import AbstractAcquisition, Context, Query
from alpl.errors import ConfigError
from alpl.predictions import Form, Need
from alpl.selection.batch_bald import batch_bald


@final
class BatchBald(AbstractAcquisition):
    """The images whose labels together say most about the parameters; for classifiers with a softmax.

    Made for queries of tens of images: each pick costs ``num_outcomes`` times what BALD costs. Of a large pool
    :class:`alpl.acquisition.Then` may hand it the candidates that BALD prefers.

    Args:
        num_outcomes: of the labels chosen, from which the joint entropy is estimated, at least 1; see
            :func:`alpl.selection.batch_bald.batch_bald`.

    Raises:
        ConfigError: ``num_outcomes`` is below 1.
    """

    needs = Need.VIEWS

    def __init__(self, num_outcomes: int = 10_000) -> None:
        if num_outcomes < 1:
            raise ConfigError(f"acquisition.num_outcomes must be >= 1, got {num_outcomes}")
        self.num_outcomes = num_outcomes

    def select(self, context: Context) -> Query:
        """See :func:`alpl.selection.batch_bald.batch_bald`; the utility is the information that each added.

        Raises:
            ValueError: the posterior is not a softmax over classes.
        """
        views = context.views
        if views.form is not Form.SOFTMAX:
            raise ValueError(f"views must be a softmax over classes for BatchBALD, got {views.form.value}")
        draw = context.generator("outcomes")
        picks, gains = batch_bald(views.probs, context.budget, draw, num_outcomes=self.num_outcomes)
        return Query(context.pool.unlabeled[picks], gains)
