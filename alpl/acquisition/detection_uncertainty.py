"""Uncertainty of detections: one value per detection, reduced to one per image (the "entropy" of Elezi et al.)."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, final

from torch import Tensor

from alpl.acquisition.base import Context
from alpl.acquisition.object_ranking import (
    AbstractObjectRanking,
    ObjectValues,
    check_score_thresh,
    confident,
    value_of,
)
from alpl.acquisition.two_way import beyond_the_first, class_probabilities, two_way
from alpl.boxes.valid_boxes import valid_boxes
from alpl.errors import ConfigError
from alpl.predictions import Form, Need, Posterior, uncertainty
from alpl.predictions.reduce import Reduction, check_reduction

_MEASURES = {
    "entropy": uncertainty.entropy,
    "margin": uncertainty.margin,
    "margin_squared": uncertainty.margin_squared,
    "least_confidence": uncertainty.least_confidence,
    "posterior": beyond_the_first,
}
_SOURCES = {
    "posterior": Need.POSTERIOR,
    "mean_of_views": Need.VIEWS,
    "score": Need.BOXES,
    "class": Need.POSTERIOR,
    "auto": Need.POSTERIOR,
}
_Source: TypeAlias = Literal["posterior", "mean_of_views", "score", "class", "auto"]


def normalized_entropy(posterior: Posterior) -> Tensor:
    r"""``Float[...]``: entropy over its largest value, in [0, 1].

    .. math:: \bar H(p) = -\frac{1}{\ln C} \sum_{c=1}^{C} p_c \ln p_c

    The H of Elezi et al. Eq. 7 (``as_released``: over all C outputs, background included, divided by :math:`\ln C`).
    The sigmoid form, K binary entropies, is divided by :math:`K \ln 2`. One output that excludes all others gives 0.

    >>> import torch
    >>> normalized_entropy(Posterior(torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0]])))
    tensor([1.0000, 0.5000])
    """
    num_outputs = posterior.checked().probs.shape[-1]
    largest = num_outputs * math.log(2) if posterior.form is Form.SIGMOID else math.log(num_outputs)
    return posterior.entropy() / (largest or 1.0)


@final
class DetectionUncertainty(AbstractObjectRanking):
    r"""Images whose detections are uncertain.

    .. math:: u(x) = \operatorname{reduce}_{i:\, s_i \ge \tau}\; m(p_i)

    over the detections i of the image, with scores s, posteriors p and the measure m. Elezi et al.'s row "Entropy" is
    the entropy over ln C, at its maximum over the objects (sec. 3.2): ``measure=entropy normalize=true reduction=max``
    with :math:`\tau = \tau_1 = 0.5` as released.

    Args:
        measure: m: ``entropy`` (in nats), ``margin`` (one minus the difference of the two largest outputs), its
            square ``margin_squared`` (Brust et al. 2019, thesis sec. 2.5.2, with ``reduction=sum``) or
            ``least_confidence`` (one minus the largest foreground probability);
            see :mod:`alpl.predictions.uncertainty`. ``posterior``: :math:`1 - s`, for ``score`` and ``class`` alone.
            PPAL Table 3 is read as ``posterior`` of the class and ``margin`` of the posterior: of two ways margin and
            least confidence, :math:`\min(s, 1 - s)`, rank alike.
        reduction: ``max``, ``mean`` or ``sum`` over the detections of an image.
        empty: what an image without such a detection gets.
        score_thresh: the least score of a detection that counts, or the least probability where that is what p is;
            0 for all.
        normalize: divide the entropy by its largest value, see :func:`normalized_entropy`.
        of: what p is: ``posterior``, or ``mean_of_views``, the mean over dropout passes or members. Elezi et al.'s rows
            "MC-dropout" and "Ensemble" are the entropy of that mean. An ensemble's posterior is its mean already.
            Or whether the detection is what it says, as PPAL measures those of one-stage detectors (Eq. 5, C' = 2):
            ``class``: :math:`(p_i, 1 - p_i)` of its class's probability; ``score``: of its score, which with a
            centerness is another number. ``auto``: what the head decides: of K independent outputs ``class``, else
            ``posterior`` (C' = C + 1 where there is a background).

        valid: which detections can count: ``as_written``: all; ``as_released``: those that PPAL's code looks at, see
            :func:`alpl.boxes.valid_boxes.valid_boxes`.
        foreground: measure the foreground's probabilities alone, scaled to one: the "two classes" of a margin are then
            never the background. For posteriors of classes that exclude each other.

    Raises:
        ConfigError: a value is unknown, out of range, or ``normalize`` is asked for another measure than the entropy,
            or ``posterior`` of more than two ways.
    """

    def __init__(
        self,
        measure: Literal["entropy", "margin", "margin_squared", "least_confidence", "posterior"] = "entropy",
        reduction: Reduction = "max",
        empty: float = 0.0,
        score_thresh: float = 0.0,
        normalize: bool = False,
        of: _Source = "posterior",
        valid: Literal["as_written", "as_released"] = "as_written",
        foreground: bool = False,
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
        if of not in _SOURCES:
            raise ConfigError(f"of must be one of {', '.join(_SOURCES)}, got {of!r}")
        if measure == "posterior" and of not in ("score", "class"):
            raise ConfigError(f"of must be score or class for measure 'posterior', got {of!r}")
        if valid not in ("as_written", "as_released"):
            raise ConfigError(f"valid must be as_written or as_released, got {valid!r}")
        if foreground and of != "posterior":
            raise ConfigError(f"of must be posterior where foreground is true, got {of!r}")
        super().__init__(reduction, empty)
        self.measure = normalized_entropy if normalize else _MEASURES[measure]
        self.score_thresh = check_score_thresh(score_thresh)
        self.of, self.foreground = of, foreground
        self.filters = valid == "as_released"
        self.needs = _SOURCES[of] | (Need.BOXES | Need.SIZES if self.filters else Need.NOTHING)

    def object_values(self, context: Context) -> ObjectValues:
        """Measure the detections that reach the threshold.

        Raises:
            ValueError: scores or labels are needed, and the predictions have none.
        """
        predictions, posterior = context.predictions, context.predictions.posterior
        if self.of == "class" or (self.of == "auto" and posterior is not None and posterior.form is Form.SIGMOID):
            said = class_probabilities(predictions)
            chosen = self._valid((said >= self.score_thresh).nonzero().flatten(), context)
            return ObjectValues(chosen, self.measure(two_way(said[chosen])))
        chosen = self._valid(confident(predictions, self.score_thresh), context)
        if self.of in ("posterior", "auto"):
            assert posterior is not None, "Need.POSTERIOR was declared"
            measure = self._of_foreground if self.foreground else self.measure
            return ObjectValues(chosen, value_of(measure, posterior, chosen))
        if self.of == "score":
            if predictions.scores is None:
                raise ValueError("predictions must have scores where of=score, got none")
            return ObjectValues(chosen, self.measure(two_way(predictions.scores[chosen])))
        assert predictions.views is not None, "Need.VIEWS was declared"
        return ObjectValues(chosen, value_of(self._of_mean, predictions.views, chosen))

    def _valid(self, chosen: Tensor, context: Context) -> Tensor:
        """``Long[J]``: those whose boxes count."""
        if not self.filters:
            return chosen
        predictions, sizes = context.predictions, context.sizes
        assert predictions.boxes is not None and sizes is not None, "Need.BOXES and Need.SIZES were declared"
        row = predictions.row[chosen]
        return chosen[valid_boxes(predictions.boxes[chosen], sizes.to(row.device)[row])]

    def _of_foreground(self, posterior: Posterior) -> Tensor:
        if posterior.form is Form.SIGMOID:
            raise ValueError("foreground must be false for outputs that do not exclude each other, got sigmoid ones")
        classes = posterior.checked().foreground
        return self.measure(Posterior(classes / classes.sum(-1, keepdim=True).clamp(min=1e-12)))

    def _of_mean(self, views: Posterior) -> Tensor:
        return self.measure(Posterior(views.probs.mean(0), views.form))
