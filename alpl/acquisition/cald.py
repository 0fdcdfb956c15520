"""CALD's first stage: images whose objects a detector finds otherwise in other views of them.

W. Yu, S. Zhu, T. Yang, C. Chen, Consistency-based Active Learning for Object Detection, arXiv 2103.10374.

Axes: U unlabeled images, I instances of all of them, J instances that count, V other views, C outputs, K classes.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from alpl.acquisition.base import AbstractRanking, Context
from alpl.acquisition.object_ranking import value_of
from alpl.errors import ConfigError
from alpl.predictions import Need, Posterior, Predictions

Rules: TypeAlias = Literal["as_written", "as_released"]

_MANY, _SPREAD = 40, 50  # the released code takes 50 places of more than 40 detections, which drops some from 51 on


@final
class Cald(AbstractRanking):
    r"""The least distance of an object's consistency from a base point, averaged over other views of the image.

    .. math:: m_k = IoU(b_k, b'_k) + \frac{1}{2} (1 - JS(p_k, p'_k)) (\max p_k + \max p'_k), \qquad
        M = \frac{1}{V} \sum_v \min_k |m_k - \beta|

    b' and p' are box and posterior of the partner in a view, see :func:`alpl.modules.augmented_views.with_views`; JS
    is the Jensen-Shannon divergence (natural logarithm) of posteriors whose outputs sum to 1, as those of independent
    classes are made to; the maxima are over foreground classes. Images of a low M are chosen: utility is -M. M is 0 of
    an image without detections, and a view that shows none adds 0 to the sum.

    Args:
        base: :math:`\beta`, in [0, 2]: all m are between 0 and 2, and a perfect match of sure objects has 2.
        rules: ``as_released``: each minimum is at most 1, and of an image with n > 40 detections, ordered by score,
            those at the 50 places count that part 0 to n - 1 evenly, rounded.

    Raises:
        ConfigError: ``base`` is out of range, or ``rules`` are unknown.
    """

    needs = Need.AUGMENTED

    def __init__(self, base: float = 1.3, rules: Rules = "as_written") -> None:
        if not (math.isfinite(base) and 0 <= base <= 2):
            raise ConfigError(f"acquisition.base must be in [0, 2], got {base}")
        self.base, self.rules = base, check_rules(rules)

    def utility(self, context: Context) -> Tensor:
        """See the base class."""
        predictions = context.predictions
        assert predictions.views is not None and predictions.view_ious is not None, "Need.AUGMENTED was declared"
        chosen = references(predictions, self.rules)
        alike = value_of(agreement, predictions.views, chosen)
        ious = predictions.view_ious[chosen].to(alike)
        distance = torch.where(ious.isnan(), 0.0, (ious + alike - self.base).abs())
        row = predictions.row[chosen, None].expand_as(distance)
        least = distance.new_full((predictions.num_images, distance.shape[1]), torch.inf)
        least.scatter_reduce_(0, row, distance, "amin")
        least = torch.where(least.isinf(), 0.0, least)  # nothing was found
        if self.rules == "as_released":
            least = least.clamp(max=1)
        return 0 - least.mean(1)  # no negative zeros


def check_rules(rules: Rules) -> Rules:
    """Give back rules that are known.

    Raises:
        ConfigError: they are not.
    """
    if rules not in ("as_written", "as_released"):
        raise ConfigError(f"acquisition.rules must be as_written or as_released, got {rules!r}")
    return rules


def references(predictions: Predictions, rules: Rules) -> Tensor:
    """``Long[J]``: the instances that are looked for in other views, ascending: all, or see :class:`Cald`."""
    counts = torch.bincount(predictions.row, minlength=predictions.num_images)
    every = torch.arange(len(predictions.row), device=predictions.row.device)
    if rules == "as_written" or not bool((counts > _SPREAD).any()):
        return every
    assert predictions.scores is not None, "every model gives scores"
    order = predictions.scores.argsort(descending=True, stable=True)
    order = order[predictions.row[order].argsort(stable=True)]
    parts = [part[_spread(len(part))] if len(part) > _MANY else part for part in order.split(counts.tolist())]
    return torch.cat(parts).sort().values


def agreement(views: Posterior) -> Tensor:
    """``[1 + V J C]``, the own posterior first -> ``Double[J V]``: the second term of m, NaN without a partner."""
    probs, most = views.probs.double(), views.foreground.double().amax(-1)
    divergence = jensen_shannon(_distribution(probs[:1]), _distribution(probs[1:]))
    return ((1 - divergence) * (most[:1] + most[1:]) / 2).T


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """``[... C]`` and ``[... C]``, of sum 1 -> ``[...]``: their divergence in [0, ln 2].

    >>> jensen_shannon(torch.tensor([1.0, 0.0]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    tensor([0.0000, 0.6931])
    """
    apart, mixed = torch.xlogy(p, p) + torch.xlogy(q, q), torch.xlogy(p + q, (p + q) / 2)
    return ((apart - mixed).sum(-1) / 2).clamp(min=0)


def _distribution(probs: Tensor) -> Tensor:
    return probs / probs.sum(-1, keepdim=True).clamp(min=torch.finfo(probs.dtype).tiny)


def _spread(number: int) -> Tensor:
    """``Long[n]``, different: 0 to ``number - 1`` in equal steps, 50 of them, rounded."""
    return torch.from_numpy(np.unique(np.linspace(0, number - 1, _SPREAD).round().astype(np.int64)))
