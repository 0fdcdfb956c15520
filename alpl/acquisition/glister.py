"""GLISTER-ACTIVE (Killamsetty, Sivasubramanian, Ramakrishnan and Iyer 2021)."""

from __future__ import annotations

import math
from typing import final

from torch import Tensor

from alpl.acquisition.base import AbstractAcquisition, Context, Query
from alpl.acquisition.kcenter import image_and_labeled_features
from alpl.errors import ConfigError
from alpl.predictions import Form, Need
from alpl.selection.glister import glister


@final
class Glister(AbstractAcquisition):
    """The images whose gradient step lowers the loss of the labeled images most; for softmax classifiers.

    The labeled images are the validation set: no other images have answers that are paid for. By
    :func:`alpl.querying.select` any images with labels can be it: hand them over as ``labeled``.

    Args:
        eta: the step, see :func:`alpl.selection.glister.glister`; the learning rate of the last layer.

    Raises:
        ConfigError: ``eta`` is not finite and > 0.
    """

    needs = Need.IMAGE_FEATURES | Need.POSTERIOR | Need.LABELED | Need.LABELED_TARGETS

    def __init__(self, eta: float = 0.05) -> None:
        if not 0 < eta < math.inf:
            raise ConfigError(f"acquisition.eta must be finite and > 0, got {eta}")
        self.eta = eta

    def select(self, context: Context) -> Query:
        """See :func:`alpl.selection.glister.glister`; the utility is the value of each when it was picked.

        Raises:
            ValueError: the posterior is not a softmax over classes, or nothing is labeled.
        """
        features, labeled = image_and_labeled_features(context)
        posterior, answers = context.posterior, context.labeled_targets
        if posterior.form is not Form.SOFTMAX:
            raise ValueError(f"the posterior must be a softmax over classes for GLISTER, got {posterior.form.value}")
        assert context.labeled is not None and context.labeled.posterior is not None, "Need.LABELED was declared"
        assert isinstance(answers, Tensor), "a classifier's answers are classes"
        picks, values = glister(
            *(features.cpu(), posterior.probs.cpu(), labeled.cpu(), context.labeled.posterior.probs.cpu()),
            *(answers.cpu(), context.budget),
            eta=self.eta,
        )
        return Query(context.pool.unlabeled[picks], values)
