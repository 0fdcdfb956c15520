"""Images that represent the others: k-centers moved to the middle of their clusters (PPAL sec. 3.3)."""

from __future__ import annotations

from typing import final

import torch

from alpl.acquisition.base import AbstractAcquisition, Context, Query
from alpl.acquisition.image_similarity import AbstractImageSimilarity
from alpl.errors import ConfigError
from alpl.selection.graph_medoids import kcenter_of_graph, refine_medoids_of_graph, represented_of_graph
from alpl.selection.medoids import Ties, kcenter_of_similarities, refine_medoids, represented
from alpl.selection.similarity_graph import SimilarityGraph


@final
class Medoids(AbstractAcquisition):
    """The b images that stand for all unlabeled ones, by any similarity of images.

    Greedy k-centers from an image drawn at random, which the paper leaves open, then at most ``iterations`` rounds in
    which every image joins its most similar center and the image most similar to its cluster becomes the center. What
    is labeled plays no role. With the similarity :class:`~alpl.acquisition.ccms.Ccms` it is PPAL's
    second stage; see :class:`~alpl.acquisition.then.Then`.

    Args:
        similarity: how alike two images are. N^2 values of it are held, or those of a graph.
        iterations: 100 in the paper.
        ties: see :func:`alpl.selection.medoids.refine_medoids`.

    Raises:
        ConfigError: ``similarity`` is none, ``iterations`` is negative, or ``ties`` is unknown.
    """

    def __init__(self, similarity: AbstractImageSimilarity, iterations: int = 100, ties: Ties = "own") -> None:
        if not isinstance(similarity, AbstractImageSimilarity):
            raise ConfigError(f"acquisition.similarity must be a similarity of images, got {type(similarity).__name__}")
        if iterations < 0:
            raise ConfigError(f"acquisition.iterations must be >= 0, got {iterations}")
        if ties not in ("own", "as_released"):
            raise ConfigError(f"acquisition.ties must be own or as_released, got {ties!r}")
        self.similarity, self.iterations, self.ties = similarity, iterations, ties
        self.needs, self.image_layers = similarity.needs, similarity.image_layers

    def select(self, context: Context) -> Query:
        """Choose the medoids, in the order of their k-centers.

        The utility is the summed similarity to the images that each stands for.
        """
        similarity = self.similarity(context.predictions)
        number = len(similarity)
        first = int(torch.randint(max(number, 1), (1,), generator=context.generator("first")))
        if isinstance(similarity, SimilarityGraph):
            centers = kcenter_of_graph(similarity, context.budget, first)
            medoids = refine_medoids_of_graph(similarity, centers, iterations=self.iterations, ties=self.ties)
            utility = represented_of_graph(similarity, medoids)
        else:
            centers = kcenter_of_similarities(similarity, context.budget, first)
            medoids = refine_medoids(similarity, centers, iterations=self.iterations, ties=self.ties)
            utility = represented(similarity, medoids)
        return Query(context.predictions.index.cpu()[medoids.cpu()], utility.cpu())
