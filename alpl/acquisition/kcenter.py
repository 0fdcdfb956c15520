"""k-center greedy on image features (Sener and Savarese 2018, Algorithm 1), started from the labeled images."""

from __future__ import annotations

from typing import final

from alpl.acquisition.base import AbstractAcquisition, Context, Query
from alpl.neighbors import kcenter_greedy
from alpl.predictions import Need


@final
class KCenter(AbstractAcquisition):
    """The image farthest from all labeled and chosen images, again and again; first index on ties."""

    needs = Need.IMAGE_FEATURES | Need.LABELED

    def select(self, context: Context) -> Query:
        """See :func:`alpl.neighbors.kcenter_greedy`; the utility is the distance at which an image was chosen."""
        assert context.labeled is not None, "Need.LABELED was declared"
        features, centers = context.predictions.image_features, context.labeled.image_features
        assert features is not None and centers is not None, "Need.IMAGE_FEATURES was declared"
        picks, distances = kcenter_greedy(features, centers, context.budget)
        return Query(context.predictions.index.cpu()[picks.cpu()], distances.cpu().double())
