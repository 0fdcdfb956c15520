"""Uncertainty of detections: one value per detection, reduced to one per image (the "entropy" of Elezi et al.)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, final

import torch
from torch import Tensor

from alpl import uncertainty
from alpl.acquisition.base import AbstractRanking, Context
from alpl.errors import ConfigError
from alpl.predictions import Form, Need, Posterior, Predictions
from alpl.reduce import Reduction, check_reduction, reduce_instances

CHUNK = 4096
"""Detections that are valued at a time: bounds the memory beside the predictions, and fits a processor's cache."""

_MEASURES = {
    "entropy": uncertainty.entropy,
    "margin": uncertainty.margin,
    "least_confidence": uncertainty.least_confidence,
}


def normalized_entropy(posterior: Posterior) -> Tensor:
    r"""``Float[...]``: entropy over its largest value, in [0, 1].

    .. math:: \bar H(p) = -\frac{1}{\ln C} \sum_{c=1}^{C} p_c \ln p_c

    The H of Elezi et al. Eq. 7 (``as_released``: over all C outputs, background included, divided by :math:`\ln C`).
    The sigmoid form, K binary entropies, is divided by :math:`K \ln 2`. One output that excludes all others gives 0.

    >>> normalized_entropy(Posterior(torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0]])))
    tensor([1.0000, 0.5000])
    """
    num_outputs = posterior.probs.shape[-1]
    largest = num_outputs * math.log(2) if posterior.form is Form.SIGMOID else math.log(num_outputs)
    return posterior.entropy() / (largest or 1.0)


def confident(predictions: Predictions, score_thresh: float) -> Tensor:
    """``Long[J]``: the instances whose score reaches the threshold, ascending.

    Raises:
        ValueError: there is a threshold above 0, and the predictions have no scores.
    """
    if score_thresh == 0:
        return torch.arange(len(predictions.row), device=predictions.row.device)
    if predictions.scores is None:
        raise ValueError(f"predictions must have scores for score_thresh {score_thresh}, got none")
    return (predictions.scores >= score_thresh).nonzero().flatten()


def value_of(measure: Callable[[Posterior], Tensor], posterior: Posterior, chosen: Tensor) -> Tensor:
    """``Float[J]``: measure some instances of a ``[I C]`` posterior, or of ``[V I C]`` views, a chunk at a time."""
    probs = posterior.probs
    single = torch.promote_types(probs.dtype, torch.float32)  # predictions may be stored in half precision
    parts = [
        measure(Posterior(probs.index_select(-2, part).to(single), posterior.form)) for part in chosen.split(CHUNK)
    ]
    return torch.cat(parts)  # split gives one empty part where nothing is chosen


@final
class DetectionUncertainty(AbstractRanking):
    r"""Images whose detections are uncertain.

    .. math:: u(x) = \operatorname{reduce}_{i:\, s_i \ge \tau}\; m(p_i)

    over the detections i of the image, with scores s, posteriors p and the measure m. Elezi et al.'s row "Entropy" is
    the entropy over ln C, at its maximum over the objects (sec. 3.2): ``measure=entropy normalize=true reduction=max``
    with :math:`\tau = \tau_1 = 0.5` as released.

    Args:
        measure: m: ``entropy`` (in nats), ``margin`` (one minus the difference of the two largest outputs) or
            ``least_confidence`` (one minus the largest foreground probability); see :mod:`alpl.uncertainty`.
        reduction: ``max``, ``mean`` or ``sum`` over the detections of an image.
        empty: what an image without such a detection gets.
        score_thresh: the least score of a detection that counts; 0 for all.
        normalize: divide the entropy by its largest value, see :func:`normalized_entropy`.

    Raises:
        ConfigError: a value is unknown, out of range, or ``normalize`` is asked for another measure than the entropy.
    """

    needs = Need.POSTERIOR

    def __init__(
        self,
        measure: Literal["entropy", "margin", "least_confidence"] = "entropy",
        reduction: Reduction = "max",
        empty: float = 0.0,
        score_thresh: float = 0.0,
        normalize: bool = False,
    ) -> None:
        if measure not in _MEASURES:
            raise ConfigError(f"measure must be one of {', '.join(_MEASURES)}, got {measure!r}")
        try:
            check_reduction(reduction)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        if not math.isfinite(empty):
            raise ConfigError(f"empty must be finite, got {empty}")
        if normalize and measure != "entropy":
            raise ConfigError(f"normalize must be false for measure {measure!r}: only the entropy has a scale")
        self.measure = normalized_entropy if normalize else _MEASURES[measure]
        self.reduction: Reduction = reduction
        self.empty = empty
        self.score_thresh = check_score_thresh(score_thresh)

    def utility(self, context: Context) -> Tensor:
        """``Float[U]``: the reduced measure of each image.

        Raises:
            ValueError: there is a score threshold, and the predictions have no scores.
        """
        predictions = context.predictions
        assert predictions.posterior is not None, "Need.POSTERIOR was declared"
        chosen = confident(predictions, self.score_thresh)
        values = value_of(self.measure, predictions.posterior, chosen)
        return reduce_instances(values, predictions.row[chosen], predictions.num_images, self.reduction, self.empty)


def check_score_thresh(score_thresh: float) -> float:
    """Give back a threshold that lies in [0, 1].

    Raises:
        ConfigError: it does not.
    """
    if not 0 <= score_thresh <= 1:
        raise ConfigError(f"score_thresh must be in [0, 1], got {score_thresh}")
    return score_thresh
