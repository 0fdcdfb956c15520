"""Class-balanced selection (thesis ch. 4): any ranking, k-center, and the thesis's pseudo-label comparison."""

from __future__ import annotations

import logging
import math
from typing import final

import torch
from torch import Tensor

from alpl.acquisition.base import AbstractAcquisition, Context, Query, check_ranking
from alpl.errors import ConfigError
from alpl.predictions import Need
from alpl.selection.balanced_kcenter import balanced_kcenter
from alpl.selection.class_balance import ENOUGH, balanced_choice, class_targets
from alpl.selection.pseudo_label_balance import pseudo_label_choice

log = logging.getLogger(__name__)


@final
class ClassBalanced(AbstractAcquisition):
    r"""The images that a ranking values most, as long as the predicted classes stay balanced (thesis Eq. 4.8).

    .. math:: \min_z \; -v^T z + \lambda \lVert \Omega - P^T z \rVert_1

    with the ranking's utilities v (entropy in Eq. 4.8, mutual information for BALD), the posterior P and what each
    class lacks, :math:`\Omega` (Eq. 4.4). How far the choice can be from the optimum goes to the log.

    Args:
        ranking: whose utilities are balanced, over images or over objects; of detectors see :func:`class_shares`.
        weight: :math:`\lambda`. The thesis takes for each method the smallest after which the l1 term falls no more,
            in (0, 3), and does not print it.
        gap: at which the search for a better choice ends, a share of the bound on the optimum. It ends earlier where it
            no longer pays; a limit in seconds would choose otherwise on another machine.

    Raises:
        ConfigError: ``ranking`` is a set method, or ``weight`` or ``gap`` is not finite and >= 0.
    """

    def __init__(self, ranking: AbstractAcquisition, weight: float = 1.0, gap: float = ENOUGH) -> None:
        self.ranking = check_ranking(ranking, "ranking")
        self.weight, self.gap = check_weight(weight), gap
        if not (math.isfinite(gap) and gap >= 0):
            raise ConfigError(f"acquisition.gap must be finite and >= 0, got {gap}")
        self.needs = ranking.needs | Need.POSTERIOR | Need.CLASS_COUNTS

    def select(self, context: Context) -> Query:
        """See :func:`alpl.selection.class_balance.balanced_choice`; in the order of utility."""
        valued = self.ranking.valued(context)
        utility, probs = valued.images.detach().cpu().double(), class_shares(context)
        found = balanced_choice(-utility, probs, lacking(context), self.weight, context.budget, enough=self.gap)
        log.info(
            "class balance: objective %.6g, bound %.6g, gap %.4f %% (enough: %.4f %%) after %d descents",
            *(found.objective, found.bound, 100 * found.gap, 100 * self.gap, found.descents),
        )
        chosen = found.index[torch.argsort(utility[found.index], descending=True, stable=True)]
        return Query(context.pool.unlabeled[chosen], utility[chosen], utility, valued.objects)


@final
class PseudoLabelBalanced(AbstractAcquisition):
    """The images that a ranking values most within each predicted class (thesis Fig. 4.7, "Entropy L1 Pseudo Label").

    Args:
        ranking: whose utilities count; for classifiers.

    Raises:
        ConfigError: ``ranking`` is a set method.
    """

    def __init__(self, ranking: AbstractAcquisition) -> None:
        self.ranking = check_ranking(ranking, "ranking")
        self.needs = ranking.needs | Need.POSTERIOR | Need.CLASS_COUNTS

    def select(self, context: Context) -> Query:
        """See :func:`alpl.selection.pseudo_label_balance.pseudo_label_choice`."""
        utility = self.ranking.utility(context).detach().cpu().double()
        labels = context.posterior.probs.cpu().argmax(-1)
        chosen = pseudo_label_choice(utility, labels, lacking(context), context.budget)
        return Query(context.pool.unlabeled[chosen], utility[chosen], utility)


@final
class BalancedKCenter(AbstractAcquisition):
    r"""k-center greedy on image features with class balance (thesis Algorithm 2).

    Args:
        weight: :math:`\lambda`, in units of the feature distances.

    Raises:
        ConfigError: ``weight`` is not finite and >= 0.
    """

    needs = Need.IMAGE_FEATURES | Need.LABELED | Need.POSTERIOR | Need.CLASS_COUNTS

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = check_weight(weight)

    def select(self, context: Context) -> Query:
        """See :func:`alpl.selection.balanced_kcenter.balanced_kcenter`; the utility is the distance when picked."""
        assert context.labeled is not None, "Need.LABELED was declared"
        features, centers = context.predictions.image_features, context.labeled.image_features
        assert features is not None and centers is not None, "Need.IMAGE_FEATURES was declared"
        targets = lacking(context).to(features.device)
        picks, distances = balanced_kcenter(
            features, centers, context.posterior.probs, targets, self.weight, context.budget
        )
        return Query(context.pool.unlabeled[picks.cpu()], distances)


def class_shares(context: Context) -> Tensor:
    """``Float[U K]``: P of Eq. 4.8; of an image with several instances, how it spreads over their classes.

    The paper has one posterior an image. Of detections it is the mean of their foreground probabilities, scaled to one
    an image; an image without any adds to no class.
    """
    predictions = context.predictions
    assert predictions.posterior is not None, "Need.POSTERIOR was declared"
    if len(predictions.row) == predictions.num_images and bool((predictions.row.diff() == 1).all()):
        return context.posterior.probs.cpu()
    foreground = predictions.posterior.checked().foreground.double().cpu()
    shares = foreground.new_zeros(predictions.num_images, foreground.shape[1])
    shares.index_add_(0, predictions.row.cpu(), foreground)
    return shares / shares.sum(1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)


def lacking(context: Context) -> Tensor:
    """``Float64[K]``: what each class lacks (Eq. 4.4), in images.

    Labeled objects are scaled to as many as there are labeled images.
    """
    assert context.class_counts is not None, "Need.CLASS_COUNTS was declared"
    counts = context.class_counts
    labeled, total = context.pool.num_labeled, int(counts.sum())
    if total not in (labeled, 0):  # objects
        counts = counts.double() * (labeled / total)
    return class_targets(counts, context.budget)


def check_weight(weight: float) -> float:
    """Give back a weight of class balance.

    Raises:
        ConfigError: it is not finite and >= 0.
    """
    if not (math.isfinite(weight) and weight >= 0):
        raise ConfigError(f"acquisition.weight must be finite and >= 0, got {weight}")
    return weight
