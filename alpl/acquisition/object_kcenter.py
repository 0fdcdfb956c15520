"""Core-set on objects: the image with the object farthest from those of labeled and chosen images (NORIS sec. 4.3)."""

from __future__ import annotations

from typing import final

from alpl.acquisition.base import AbstractAcquisition, Context, Query
from alpl.acquisition.object_ranking import check_score_thresh, confident
from alpl.predictions import Need
from alpl.selection.object_kcenter import object_kcenter


@final
class ObjectKCenter(AbstractAcquisition):
    """See :func:`alpl.selection.object_kcenter.object_kcenter`.

    Args:
        score_thresh: the least score of an object, in the labeled and the unlabeled images; 0 for all.

    Raises:
        ConfigError: it is not in [0, 1].
    """

    needs = Need.FEATURES | Need.LABELED

    def __init__(self, score_thresh: float = 0.05) -> None:
        self.score_thresh = check_score_thresh(score_thresh)

    def select(self, context: Context) -> Query:
        """Choose one image after the other; the utility is the distance at which each was chosen."""
        seen, labeled = context.predictions, context.labeled
        assert labeled is not None and labeled.features is not None, "Need.LABELED was declared"
        assert seen.features is not None, "Need.FEATURES was declared"
        chosen, centers = confident(seen, self.score_thresh), confident(labeled, self.score_thresh)
        features, row, known = seen.features[chosen].cpu(), seen.row[chosen].cpu(), labeled.features[centers].cpu()
        picks, distances = object_kcenter(features, row, seen.num_images, known, context.budget)
        return Query(seen.index.cpu()[picks], distances)
