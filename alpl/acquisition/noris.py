"""NORIS: informative images that are not like others already chosen (Hekimoglu et al., WACV 2024)."""

from __future__ import annotations

from abc import abstractmethod
from typing import final

from alpl.acquisition.base import AbstractAcquisition, Context, Query, check_ranking
from alpl.acquisition.greedy import AbstractGreedy
from alpl.acquisition.object_ranking import check_score_thresh, confident
from alpl.errors import ConfigError
from alpl.predictions import Need
from alpl.selection.blocks import MEMORY_LIMIT
from alpl.selection.image_distance import AbstractImageDistance, FeatureDistance
from alpl.selection.noris import VARIANTS, Kernel, NorisGain, Shape, Variant, noris
from alpl.selection.object_distance import (
    AGGREGATIONS,
    EMPTY_DISTANCES,
    METRICS,
    Aggregation,
    EmptyDistance,
    Metric,
    ObjectDistance,
)


class AbstractNoris(AbstractGreedy):
    r"""See :func:`alpl.selection.noris.noris`.

    Args:
        information: the ranking whose utilities are :math:`\sigma`, >= 0; the paper's is least confidence.
        variant: ``sum`` (Algorithm 1), ``max`` (Algorithm 2), ``sum_equation_7`` or ``max_equation_8``.
        similarity: ``gaussian`` or ``linear``.
        alpha: how far an image's influence reaches, as a share of the largest distance, in (0, 1]. The paper's best on
            KITTI: sum and gaussian 0.5, max and gaussian 0.2, sum and linear 1.0, max and linear 0.8.
        memory_limit: in bytes, for distances.

    Raises:
        ConfigError: ``information`` gives no utilities, or a value is unknown or out of range.
    """

    def __init__(
        self,
        information: AbstractAcquisition,
        variant: Variant = "sum",
        similarity: Shape = "gaussian",
        alpha: float = 0.5,
        memory_limit: int = MEMORY_LIMIT,
    ) -> None:
        if variant not in VARIANTS:
            raise ConfigError(f"acquisition.variant must be one of {', '.join(VARIANTS)}, got {variant!r}")
        self.information, self.variant = check_ranking(information, "information"), variant
        self.kernel = Kernel(similarity, alpha)
        self.memory_limit = memory_limit
        self.needs = information.needs | self._needs_of_distance

    _needs_of_distance: Need

    @abstractmethod
    def distance(self, context: Context) -> AbstractImageDistance:
        """Distances between the unlabeled images."""

    @final
    def select(self, context: Context) -> Query:
        """Choose one image after the other; the utility is what each was worth when it was picked.

        Raises:
            ValueError: the information is negative or not finite.
        """
        valued = self.information.valued(context)
        information = valued.images.detach()
        distance = self.distance(context)
        picks, values = noris(information, distance, context.budget, variant=self.variant, kernel=self.kernel)
        return Query(context.predictions.index.cpu()[picks.cpu()], values, information.cpu().double(), valued.objects)

    @final
    def gain(self, context: Context) -> NorisGain:
        """See the base class: what each is worth beside what is picked."""
        information = self.information.utility(context).detach()
        distance = self.distance(context)
        return NorisGain(information, distance, context.budget, variant=self.variant, kernel=self.kernel)


@final
class Noris(AbstractNoris):
    """NORIS on the Euclidean distance of image features, as the paper has it for classification."""

    _needs_of_distance = Need.IMAGE_FEATURES

    def distance(self, context: Context) -> AbstractImageDistance:
        """See the base class."""
        features = context.predictions.image_features
        assert features is not None, "Need.IMAGE_FEATURES was declared"
        return FeatureDistance(features, self.memory_limit)


@final
class ObjectNoris(AbstractNoris):
    r"""NORIS on objects and image features, as the paper has it for detection (Eq. 9, 10; its Table 4).

    Args:
        information: see :class:`AbstractNoris`, as all that is not here.
        variant: as there.
        similarity: as there.
        alpha: as there.
        memory_limit: as there.
        score_thresh: the least score of an object, which the paper does not print; 0 for all.
        metric: ``squared_euclidean`` (as written), ``euclidean`` or ``cosine``.
        aggregation: of the distances of objects: ``maximum`` or ``average``.
        image_features: whether they count too.
        empty: ``image``, or ``typical``, the only one where image features do not count.

    The last four: see :class:`alpl.selection.object_distance.ObjectDistance`.

    Raises:
        ConfigError: as there; ``score_thresh`` is out of range, or an option is unknown.
    """

    _needs_of_distance = Need.FEATURES

    def __init__(
        self,
        information: AbstractAcquisition,
        variant: Variant = "sum",
        similarity: Shape = "gaussian",
        alpha: float = 0.5,
        memory_limit: int = MEMORY_LIMIT,
        score_thresh: float = 0.0,
        metric: Metric = "squared_euclidean",
        aggregation: Aggregation = "maximum",
        image_features: bool = True,
        empty: EmptyDistance = "image",
    ) -> None:
        super().__init__(information, variant, similarity, alpha, memory_limit)
        options = {"metric": (metric, METRICS), "aggregation": (aggregation, AGGREGATIONS)}
        for name, (given, known) in {**options, "empty": (empty, EMPTY_DISTANCES)}.items():
            if given not in known:
                raise ConfigError(f"acquisition.{name} must be one of {', '.join(known)}, got {given!r}")
        if empty == "image" and not image_features:
            raise ConfigError("acquisition.empty must be typical where image_features is false, got 'image'")
        self.score_thresh = check_score_thresh(score_thresh)
        self.metric, self.aggregation, self.empty = metric, aggregation, empty
        self.image_features = image_features
        if image_features:
            self.needs |= Need.IMAGE_FEATURES

    def distance(self, context: Context) -> AbstractImageDistance:
        """See the base class."""
        seen = context.predictions
        assert seen.features is not None, "Need.FEATURES was declared"
        kept = confident(seen, self.score_thresh)
        return ObjectDistance(
            seen.features[kept],
            seen.row[kept],
            seen.image_features if self.image_features else None,
            num_images=None if self.image_features else seen.num_images,
            metric=self.metric,
            aggregation=self.aggregation,
            empty=self.empty,
            memory_limit=self.memory_limit,
        )
