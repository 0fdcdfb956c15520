"""TypiClust (Hacohen, Dekel and Weinshall 2022, Active Learning on a Budget)."""

from __future__ import annotations

from typing import final

from alpl.acquisition.base import AbstractAcquisition, Context, Query
from alpl.acquisition.kcenter import image_and_labeled_features
from alpl.errors import ConfigError
from alpl.machine.seeding import integer
from alpl.predictions import Need
from alpl.selection.typiclust import TYPICALITIES, Typicality, typiclust


@final
class TypiClust(AbstractAcquisition):
    """The most typical images of clusters without a label: made for budgets of a few images a class, and cold starts.

    The paper's features are self-supervised (``pretrained=...``); nothing need be labeled.

    Args:
        neighbors: see :func:`alpl.selection.typiclust.typiclust`, as all others.
        min_cluster_size: as there.
        max_clusters: as there.
        normalize: as there.
        typicality: as there.

    Raises:
        ConfigError: an argument is out of range.
    """

    needs = Need.IMAGE_FEATURES | Need.LABELED

    def __init__(
        self,
        neighbors: int = 20,
        min_cluster_size: int = 5,
        max_clusters: int = 500,
        normalize: bool = True,
        typicality: Typicality = "as_written",
    ) -> None:
        if neighbors < 1 or max_clusters < 1 or min_cluster_size < 0:
            given = f"{neighbors}, {max_clusters} and {min_cluster_size}"
            raise ConfigError(
                f"acquisition.neighbors and max_clusters must be >= 1 and min_cluster_size >= 0, got {given}"
            )
        if typicality not in TYPICALITIES:
            raise ConfigError(f"acquisition.typicality must be one of {', '.join(TYPICALITIES)}, got {typicality!r}")
        self.neighbors, self.min_cluster_size, self.max_clusters = neighbors, min_cluster_size, max_clusters
        self.normalize, self.typicality = normalize, typicality

    def select(self, context: Context) -> Query:
        """See :func:`alpl.selection.typiclust.typiclust`; the utility is the typicality."""
        features, labeled = image_and_labeled_features(context)
        picks, values = typiclust(
            features,
            labeled,
            context.budget,
            seed=integer(context.generator("k-means"), 2**31 - 1),
            neighbors=self.neighbors,
            min_cluster_size=self.min_cluster_size,
            max_clusters=self.max_clusters,
            normalize=self.normalize,
            typicality=self.typicality,
        )
        return Query(context.pool.unlabeled[picks], values)
