"""What :class:`alpl.acquisition.medoids.Medoids` compares images by; the alternatives to CCMS of PPAL Table 1.

Axes: N images.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor

from alpl.acquisition.object_ranking import check_score_thresh
from alpl.errors import ConfigError
from alpl.predictions import Need, Predictions
from alpl.selection.blocks import MEMORY_LIMIT
from alpl.selection.ccms import EMPTY_RULES, Empty, ccms
from alpl.selection.image_similarity import global_similarity, jaccard_similarity
from alpl.selection.object_match import KlDirection, KlMatch
from alpl.selection.objects import Objects
from alpl.selection.similarity_graph import SimilarityGraph


class AbstractImageSimilarity(ABC):
    """Says how alike any two of N images are."""

    needs: Need
    """What the predictions must hold."""

    image_layers: frozenset[int] = frozenset()
    """See :attr:`alpl.acquisition.base.AbstractAcquisition.image_layers`."""

    @abstractmethod
    def __call__(self, predictions: Predictions) -> Tensor | SimilarityGraph:
        """``Float[N N]``, symmetric, the largest values on the diagonal; or the pairs that count."""


@final
class KlMatching(AbstractImageSimilarity):
    """The same for SSD, whose objects have no features in common: matched by their posteriors (PPAL sec. 4.2).

    Args:
        score_thresh: only detections with a higher score count.
        empty: as for :class:`Ccms`.
        direction: see :class:`alpl.selection.object_match.KlMatch`.
        any_class: match objects whatever their class (``as_released``).
        memory_limit: in bytes.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    needs = Need.POSTERIOR

    def __init__(
        self,
        score_thresh: float = 0.0,
        empty: Empty = "dissimilar",
        direction: KlDirection = "symmetric",
        any_class: bool = False,
        memory_limit: int = MEMORY_LIMIT,
    ) -> None:
        self.score_thresh = check_score_thresh(score_thresh)
        self.empty = checked_empty(empty)
        self.match = KlMatch(direction)
        self.any_class, self.memory_limit = any_class, memory_limit

    def __call__(self, predictions: Predictions) -> Tensor:
        """See the base class; all outputs count, the background too."""
        assert predictions.posterior is not None, "Need.POSTERIOR was declared"
        objects = objects_of(predictions, predictions.posterior.checked().probs, self.score_thresh, self.any_class)
        return ccms(objects, self.match, empty=self.empty, memory_limit=self.memory_limit)


@final
class GlobalSimilarity(AbstractImageSimilarity):
    """Cosine of the image features (PPAL Table 1, "Global"; "FPN" where they are of several layers).

    Args:
        num_layers: how many layers of one width the image features hold, one after the other; or a list with an entry
            for each, such as what a model's config says of the maps of its pyramid.

    Raises:
        ConfigError: ``num_layers`` is less than 1.
    """

    needs = Need.IMAGE_FEATURES

    def __init__(self, num_layers: int | Sequence[Any] = 1) -> None:
        self.num_layers = num_layers if isinstance(num_layers, int) else len(num_layers)
        if self.num_layers < 1:
            raise ConfigError(f"num_layers must be >= 1, got {self.num_layers}")
        if self.num_layers > 1:  # one vector an image may be of anything
            self.image_layers = frozenset({self.num_layers})

    def __call__(self, predictions: Predictions) -> Tensor:
        """See :func:`alpl.selection.image_similarity.global_similarity`."""
        assert predictions.image_features is not None, "Need.IMAGE_FEATURES was declared"
        return global_similarity(predictions.image_features, self.num_layers)


@final
class JaccardSimilarity(AbstractImageSimilarity):
    """Overlap of the predicted classes (PPAL Table 1, "Jaccard").

    Args:
        score_thresh: only detections with a higher score count.

    Raises:
        ConfigError: the threshold is out of range.
    """

    needs = Need.BOXES

    def __init__(self, score_thresh: float = 0.0) -> None:
        self.score_thresh = check_score_thresh(score_thresh)

    def __call__(self, predictions: Predictions) -> Tensor:
        """See :func:`alpl.selection.image_similarity.jaccard_similarity`."""
        assert predictions.labels is not None, "every model gives labels"
        kept = counted(predictions, self.score_thresh)
        return jaccard_similarity(predictions.labels[kept], predictions.row[kept], predictions.num_images)


def objects_of(predictions: Predictions, values: Tensor, score_thresh: float, any_class: bool = False) -> Objects:
    """Give the detections that count.

    Args:
        predictions: of N images.
        values: ``Float[I F]`` what objects are compared by.
        score_thresh: only detections with a higher score count.
        any_class: whether all are of one class.
    """
    assert predictions.labels is not None and predictions.scores is not None, "every model gives labels and scores"
    kept = counted(predictions, score_thresh)
    labels = torch.zeros_like(predictions.labels) if any_class else predictions.labels
    fields = (values, labels, predictions.scores, predictions.row)
    if len(kept) < len(predictions.row):  # the features of many images need not be copied for nothing
        fields = (values[kept], labels[kept], predictions.scores[kept], predictions.row[kept])
    return Objects(*fields, predictions.num_images)


def counted(predictions: Predictions, score_thresh: float) -> Tensor:
    """``Long[J]``: the instances with a higher score, as in the released code, which leaves out equal ones."""
    if predictions.scores is None:
        raise ValueError(f"predictions must have scores for score_thresh {score_thresh}, got none")
    return (predictions.scores > score_thresh).nonzero().flatten()


def checked_empty(empty: Empty) -> Empty:
    """Give back a rule for images without detections that is known."""
    if empty not in EMPTY_RULES:
        raise ConfigError(f"empty must be one of {', '.join(EMPTY_RULES)}, got {empty!r}")
    return empty
