"""CDAL in its k-center form (Agarwal et al. 2020, Contextual Diversity for Active Learning)."""

from __future__ import annotations

from typing import Literal, TypeAlias, final, get_args

from alpl.acquisition.base import Context, Query
from alpl.acquisition.greedy import AbstractGreedy
from alpl.errors import ConfigError
from alpl.predictions import Need
from alpl.selection.cdal import ClassContexts, image_mixtures
from alpl.selection.gains import NearestGain
from alpl.selection.kcenter import kcenter_gain, kcenter_gain_by, kcenter_greedy, kcenter_greedy_by

Contexts: TypeAlias = Literal["image", "class"]


@final
class Cdal(AbstractGreedy):
    """The image whose predicted classes are confused most unlike those of all labeled and chosen images; repeatedly.

    k-center greedy, started from the labeled images, first index on ties, with the symmetric Kullback-Leibler
    divergence.

    Args:
        contexts: what is compared. ``image``: one mixture an image, as the released code does for detection and NORIS
            describes it; the choice for classifiers. ``class``: one mixture for each predicted class, summed over
            the classes that both images have, as the paper has it. There a labeled image that shares no class
            with the others is near to them all.

    Raises:
        ConfigError: ``contexts`` is neither.
    """

    needs = Need.POSTERIOR | Need.LABELED

    def __init__(self, contexts: Contexts = "image") -> None:
        if contexts not in get_args(Contexts):
            raise ConfigError(f"acquisition.contexts must be one of {', '.join(get_args(Contexts))}, got {contexts}")
        self.contexts: Contexts = contexts

    def select(self, context: Context) -> Query:
        """See :func:`alpl.selection.kcenter.kcenter_greedy`; the utility is the divergence when chosen."""
        assert context.labeled is not None, "Need.LABELED was declared"
        unlabeled, labeled = context.predictions, context.labeled
        if self.contexts == "image":
            mixtures, centers = image_mixtures(unlabeled).float(), image_mixtures(labeled).float()
            picks, distances = kcenter_greedy(mixtures, centers, context.budget, metric="symmetric_kl")
        else:
            distance = ClassContexts(unlabeled, labeled)
            numbers = unlabeled.num_images, labeled.num_images
            picks, distances = kcenter_greedy_by(distance, *numbers, context.budget, device=unlabeled.row.device)
        return Query(unlabeled.index.cpu()[picks.cpu()], distances)

    def gain(self, context: Context) -> NearestGain:
        """See the base class: the divergence from the nearest labeled or chosen image."""
        assert context.labeled is not None, "Need.LABELED was declared"
        unlabeled, labeled = context.predictions, context.labeled
        if self.contexts == "image":
            mixtures, centers = image_mixtures(unlabeled).float(), image_mixtures(labeled).float()
            return kcenter_gain(mixtures, centers, metric="symmetric_kl")
        numbers = unlabeled.num_images, labeled.num_images
        return kcenter_gain_by(ClassContexts(unlabeled, labeled), *numbers, device=unlabeled.row.device)
