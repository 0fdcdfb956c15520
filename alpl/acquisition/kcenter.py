"""k-center greedy on image features (Sener and Savarese 2018, Algorithm 1), started from the labeled images."""

from __future__ import annotations

from typing import final

from torch import Tensor

from alpl.acquisition.base import Context, Query
from alpl.acquisition.greedy import AbstractGreedy
from alpl.errors import ConfigError
from alpl.predictions import Need
from alpl.selection.feature_spaces import BACKENDS, Backend
from alpl.selection.gains import NearestGain
from alpl.selection.kcenter import FEATURE_METRICS, FeatureMetric, kcenter_gain, kcenter_greedy


@final
class KCenter(AbstractGreedy):
    """The image farthest from all labeled and chosen images, again and again; first index on ties.

    Args:
        metric: ``euclidean``, or ``cosine`` for one minus the cosine.
        backend: who bounds the distances to the labeled images, ``torch``, ``faiss``, or ``auto`` for the faster one;
            the picks are the same.

    Raises:
        ConfigError: ``metric`` or ``backend`` is none of these.
    """

    needs = Need.IMAGE_FEATURES | Need.LABELED

    def __init__(self, metric: FeatureMetric = "euclidean", backend: Backend = "auto") -> None:
        if metric not in FEATURE_METRICS:
            raise ConfigError(f"acquisition.metric must be one of {', '.join(FEATURE_METRICS)}, got {metric}")
        if backend not in BACKENDS:
            raise ConfigError(f"acquisition.backend must be one of {', '.join(BACKENDS)}, got {backend}")
        self.metric: FeatureMetric = metric
        self.backend: Backend = backend

    def select(self, context: Context) -> Query:
        """See :func:`alpl.selection.kcenter.kcenter_greedy`; the utility is the distance at which each was chosen."""
        features, centers = image_and_labeled_features(context)
        picks, distances = kcenter_greedy(features, centers, context.budget, metric=self.metric, backend=self.backend)
        return Query(context.predictions.index.cpu()[picks.cpu()], distances)

    def gain(self, context: Context) -> NearestGain:
        """See the base class: the distance to the nearest labeled or chosen image."""
        return kcenter_gain(*image_and_labeled_features(context), metric=self.metric, backend=self.backend)


def image_and_labeled_features(context: Context) -> tuple[Tensor, Tensor]:
    """``Float[U F]`` and ``Float[L F]``: image features of the unlabeled and of the labeled images."""
    assert context.labeled is not None, "Need.LABELED was declared"
    features, centers = context.predictions.image_features, context.labeled.image_features
    assert features is not None and centers is not None, "Need.IMAGE_FEATURES was declared"
    return features, centers
