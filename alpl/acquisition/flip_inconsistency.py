"""Flip inconsistency times entropy: the acquisition of Elezi et al. (Eq. 7).

Axes: V = 2 views: the detection's posterior, and that of its partner in the horizontally flipped image.
"""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor

from alpl.acquisition.base import Context
from alpl.acquisition.detection_uncertainty import normalized_entropy
from alpl.acquisition.object_ranking import (
    AbstractObjectRanking,
    ObjectValues,
    check_score_thresh,
    confident,
    value_of,
)
from alpl.errors import ConfigError
from alpl.predictions import Form, Need, Posterior
from alpl.predictions.reduce import reduce_instances

_MEASURES = ("product", "two_stage", "inconsistency")


def inconsistency(views: Posterior) -> Tensor:
    r"""Disagreement of two views: the symmetric Kullback-Leibler divergence in nats.

    .. math:: I = \tfrac12 \big[ KL(p', p) + KL(p, p') \big] = \tfrac12 \sum_c (p_c - p'_c) (\ln p_c - \ln p'_c)

    Elezi et al. Eq. 3, over all C outputs. In the sigmoid form the sum of the K binary divergences. Nothing is added
    to the probabilities (``as_released``), but those that underflowed count as the smallest normal number, so that the
    divergence stays finite.

    Args:
        views: ``[2 I C]``.

    Returns:
        ``Float[I]``, >= 0.

    Raises:
        ValueError: there are not two views, or they are no probabilities.

    >>> inconsistency(Posterior(torch.tensor([[[0.5, 0.5]], [[0.25, 0.75]]])))
    tensor([0.1373])
    """
    probs = views.probs
    if probs.ndim != 3 or len(probs) != 2:
        raise ValueError(f"views must be [2 I C], the image and its flip, got shape {list(probs.shape)}")
    views.checked()
    divergence = _products(probs)
    if views.form is Form.SIGMOID:
        divergence = divergence + _products(1 - probs)
    return divergence.sum(-1) / 2


def _products(probs: Tensor) -> Tensor:
    """``Float[I C]``: the summands of the equation, with one logarithm of the ratio."""
    positive = probs.clamp(min=torch.finfo(probs.dtype).tiny)
    return (probs[0] - probs[1]) * (positive[0] / positive[1]).log()


@final
class FlipInconsistency(AbstractObjectRanking):
    r"""Images with an object on which the network is unsure and which it sees otherwise in the mirror.

    .. math:: A(\Delta_i) = H(\Delta_i) \cdot I(\Delta_i) \text{ conditioned on } C(\Delta_i) \ge \tau_1, \qquad
        A(\Delta) = \max_i A(\Delta_i)

    Elezi et al. Eq. 7, with the entropy H over its largest value (:func:`normalized_entropy`), the inconsistency I
    (:func:`inconsistency`) and the score C. Images without such a detection get 0.

    Args:
        measure: ``product`` is the equation (``as_written``). ``two_stage`` is the released code: of the
            ``candidates`` images with the highest :math:`\max_i H`, those of highest :math:`\max_i I`, maybe of another
            object; all other images get 0. ``inconsistency`` is :math:`\max_i I` alone (the ablation's row).
        score_thresh: :math:`\tau_1`, the least score of a detection that counts; 0 for all.
        candidates: images that the first stage of ``two_stage`` keeps, ties by a seeded draw. If the budget is larger,
            the rest is drawn from the other images.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    needs = Need.FLIP  # the first view is the posterior: it need not be stored once more

    def __init__(
        self,
        measure: Literal["product", "two_stage", "inconsistency"] = "product",
        score_thresh: float = 0.5,
        candidates: int = 3000,
    ) -> None:
        if measure not in _MEASURES:
            raise ConfigError(f"measure must be one of {', '.join(_MEASURES)}, got {measure!r}")
        if candidates < 1:
            raise ConfigError(f"candidates must be >= 1, got {candidates}")
        super().__init__("max", empty=0.0)
        self.measure = measure
        self.score_thresh = check_score_thresh(score_thresh)
        self.candidates = candidates

    def object_values(self, context: Context) -> ObjectValues:
        """Value the detections that reach the threshold, each >= 0; of ``two_stage`` those of the candidates only.

        Raises:
            ValueError: there are not two views, or a score threshold and no scores.
        """
        predictions = context.predictions
        assert predictions.views is not None, "Need.FLIP was declared"
        chosen = confident(predictions, self.score_thresh)
        if self.measure == "two_stage":
            row, doubt = predictions.row[chosen], value_of(_doubt, predictions.views, chosen)
            largest = reduce_instances(doubt, row, predictions.num_images, "max", empty=0.0)
            chosen = chosen[_highest(largest, self.candidates, context.generator("candidates"))[row]]
        measure = _product if self.measure == "product" else inconsistency
        return ObjectValues(chosen, value_of(measure, predictions.views, chosen))


def _doubt(views: Posterior) -> Tensor:
    """``Float[I]``: the entropy of the image as it is."""
    return normalized_entropy(views[0])


def _product(views: Posterior) -> Tensor:
    return inconsistency(views) * _doubt(views)


def _highest(values: Tensor, number: int, draws: torch.Generator) -> Tensor:
    """``Bool[U]``: the ``number`` highest values, ties by a draw."""
    shuffled = torch.randperm(len(values), generator=draws).to(values.device)
    order = shuffled[torch.argsort(values[shuffled], descending=True, stable=True)]
    kept = torch.zeros_like(values, dtype=torch.bool)
    kept[order[:number]] = True
    return kept
