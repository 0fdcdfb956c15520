"""Cluster-Margin (Citovsky et al. 2021, Batch Active Learning at Scale)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import final

import torch

from alpl.acquisition.base import AbstractAcquisition, Context, Query, check_ranking, choose_highest
from alpl.errors import ConfigError
from alpl.machine.seeding import integer
from alpl.predictions import Need
from alpl.selection.average_linkage import LINKED_UP_TO, average_linkage
from alpl.selection.round_robin import round_robin


@final
class ClusterMargin(AbstractAcquisition):
    r"""Images of small margin, drawn in turn from the clusters that they lie in (Citovsky et al. 2021, Algorithm 2).

    1. Cluster the unlabeled images by average linkage; see :func:`alpl.selection.average_linkage.average_linkage`, also
       for what it does with large pools. The paper clusters once, before the first cycle; here each cycle clusters what
       is unlabeled by the features of its model, so that a run can begin anywhere.
    2. Take the :math:`k_m` images that the ranking values most.
    3. From the smallest of their clusters to the largest draw one image each, again and again.

    Args:
        ranking: whose utility counts; the paper has the margin. Its utility is the query's.
        ratio: :math:`k_m / b`, at least 1; 10 on the paper's largest data.
        cluster_size: images of a cluster on average, at least 1, where ``distance`` is None.
        distance: :math:`\epsilon` at which linking ends, which the paper chooses by hand for each data set.
        linked_up_to: images of which all pairs are linked, at least 2.

    Raises:
        ConfigError: ``ranking`` is a set method, or a number is out of range.
    """

    def __init__(
        self,
        ranking: AbstractAcquisition,
        ratio: float = 10.0,
        cluster_size: float = 10.0,
        distance: float | None = None,
        linked_up_to: int = LINKED_UP_TO,
    ) -> None:
        self.ranking = check_ranking(ranking, "ranking")
        for name, value in (("ratio", ratio), ("cluster_size", cluster_size)):
            if not (math.isfinite(value) and value >= 1):
                raise ConfigError(f"acquisition.{name} must be finite and >= 1, got {value}")
        if distance is not None and not 0 < distance < float("inf"):
            raise ConfigError(f"acquisition.distance must be null or finite and > 0, got {distance}")
        if linked_up_to < 2:
            raise ConfigError(f"acquisition.linked_up_to must be >= 2, got {linked_up_to}")
        self.ratio, self.cluster_size, self.distance, self.linked_up_to = ratio, cluster_size, distance, linked_up_to
        self.needs, self.image_layers = ranking.needs | Need.IMAGE_FEATURES, ranking.image_layers

    def select(self, context: Context) -> Query:
        """Choose, in the order of the draws.

        Raises:
            ValueError: see :func:`alpl.acquisition.base.choose_highest`.
        """
        features = context.predictions.image_features
        assert features is not None, "Need.IMAGE_FEATURES was declared"
        number = len(features)
        valued = self.ranking.valued(context)
        utility = valued.images.detach().cpu().double()
        name = type(self.ranking).__name__
        choose_highest(name, utility, context)  # refuses what is no utility, and a budget that exceeds the images
        wide = replace(context, budget=min(math.ceil(self.ratio * context.budget), number))
        candidates = choose_highest(name, utility, wide).index
        positions = torch.searchsorted(context.pool.unlabeled, candidates)
        cluster = average_linkage(
            features,
            num_clusters=math.ceil(max(number, 1) / self.cluster_size) if self.distance is None else None,
            distance=self.distance,
            seed=integer(context.generator("k-means"), 2**31 - 1),
            linked_up_to=self.linked_up_to,
        )
        drawn = round_robin(cluster[positions], context.budget, context.generator("round-robin"))
        chosen = positions[drawn]
        return Query(context.pool.unlabeled[chosen], utility[chosen], utility, valued.objects)
