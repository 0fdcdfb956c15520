"""Category-conditioned matching similarity, by all pairs of images or by those that are most alike (PPAL sec. 3.3)."""

from __future__ import annotations

import logging
from typing import Literal, TypeAlias, final

import torch
from torch import Tensor

from alpl.acquisition.image_similarity import AbstractImageSimilarity, checked_empty, counted, objects_of
from alpl.acquisition.object_ranking import check_score_thresh
from alpl.errors import ConfigError
from alpl.machine.extras import installing
from alpl.predictions import Need, Predictions
from alpl.selection.blocks import MEMORY_LIMIT
from alpl.selection.ccms import Empty, ccms
from alpl.selection.ccms_graph import ccms_graph
from alpl.selection.object_match import CosineMatch
from alpl.selection.object_neighbors import check_faiss, has_faiss
from alpl.selection.objects import Objects
from alpl.selection.similarity_graph import SimilarityGraph

Method: TypeAlias = Literal["auto", "exact", "faiss"]

log = logging.getLogger(__name__)


@final
class Ccms(AbstractImageSimilarity):
    """PPAL's category-conditioned matching similarity (Eq. 6, 7): the best match of each object by its features.

    Args:
        score_thresh: only detections with a higher score count. The released code has 0.05.
        empty: what images without such a detection are: ``dissimilar``, ``alike`` or ``similar`` (released).
        same_rank: whether objects of one class and one rank by score are equal whatever their features (released).
        epsilon: beside the summed scores (released: 1e-5).
        memory_limit: in bytes.
        method: ``exact``: all pairs of images, 4 N^2 bytes. ``faiss``: of each image the pairs with those that are most
            like it, see :func:`alpl.selection.ccms_graph.ccms_graph`; for the text's similarity alone, without the
            three options above that the released code has. ``auto``: exact where the matrix takes no more than
            ``matrix_limit`` bytes, where such an option is set or where faiss is not installed, else faiss; the log
            says which, and why.
        matrix_limit: in bytes; 4 GiB are 32,768 images.
        neighbors: with faiss, the images that each image is held with.
        matches: with faiss, how many objects of its class each object finds.
        recall: with faiss, the share of these that is to be found; 1 compares all objects of a class.

    The first five: see :func:`alpl.selection.ccms.ccms`.

    Raises:
        ConfigError: a value is unknown or out of range, or ``faiss`` is asked for and not installed, or with an option
            that it does not know.
    """

    needs = Need.FEATURES

    def __init__(
        self,
        score_thresh: float = 0.0,
        empty: Empty = "dissimilar",
        same_rank: bool = False,
        epsilon: float = 0.0,
        memory_limit: int = MEMORY_LIMIT,
        method: Method = "auto",
        matrix_limit: int = 4 * 2**30,
        neighbors: int = 64,
        matches: int = 32,
        recall: float = 0.95,
    ) -> None:
        self.score_thresh = check_score_thresh(score_thresh)
        self.empty = checked_empty(empty)
        if not 0 <= epsilon < float("inf"):
            raise ConfigError(f"epsilon must be finite and >= 0, got {epsilon}")
        self.same_rank, self.epsilon, self.memory_limit = same_rank, epsilon, memory_limit
        if method not in ("auto", "exact", "faiss"):
            raise ConfigError(f"method must be auto, exact or faiss, got {method!r}")
        if min(matrix_limit, neighbors, matches) < 1:
            given = f"{matrix_limit}, {neighbors} and {matches}"
            raise ConfigError(f"matrix_limit, neighbors and matches must be >= 1, got {given}")
        if not 0 < recall <= 1:
            raise ConfigError(f"recall must be in (0, 1], got {recall}")
        self.method, self.matrix_limit = method, matrix_limit
        self.neighbors, self.matches, self.recall = neighbors, matches, recall
        if method == "faiss":
            check_faiss()
            if not self._is_the_texts:
                given = f"empty {empty!r}, same_rank {same_rank}, epsilon {epsilon}"
                raise ConfigError(f"method faiss must have empty 'dissimilar', same_rank False, epsilon 0, got {given}")

    @property
    def _is_the_texts(self) -> bool:
        return self.empty == "dissimilar" and not self.same_rank and not self.epsilon

    def __call__(self, predictions: Predictions) -> Tensor | SimilarityGraph:
        """See the base class."""
        assert predictions.features is not None, "Need.FEATURES was declared"
        if self._by_graph(predictions.num_images):
            return ccms_graph(
                self._in_place(predictions),
                neighbors=self.neighbors,
                matches=self.matches,
                recall=self.recall,
                memory_limit=self.memory_limit,
            )
        return ccms(
            objects_of(predictions, predictions.features, self.score_thresh),
            CosineMatch(),
            empty=self.empty,
            same_rank=self.same_rank,
            epsilon=self.epsilon,
            memory_limit=self.memory_limit,
        )

    def _by_graph(self, number: int) -> bool:
        """Whether a graph takes the place of the matrix; says so where that was not asked for by name."""
        if self.method != "auto":
            return self.method == "faiss"
        size = 4 * number**2
        takes = f"the matrix of {number} images takes {size / 2**30:.3g} GiB of {self.matrix_limit / 2**30:.3g}"
        if size <= self.matrix_limit:
            log.info("ccms by all pairs: %s", takes)
        elif not self._is_the_texts:
            log.warning("ccms by all pairs although %s: a graph knows none of empty, same_rank and epsilon", takes)
        elif not has_faiss():
            log.warning("ccms by all pairs although %s: a graph needs faiss, %s", takes, installing("cpu"))
        else:
            log.info("ccms by a graph with faiss: %s", takes)
            return True
        return False

    def _in_place(self, predictions: Predictions) -> Objects:
        """All detections, those that do not count of class -1: the features of a large pool are not copied."""
        assert predictions.features is not None, "Need.FEATURES was declared"
        every = objects_of(predictions, predictions.features, -1.0)
        left_out = torch.ones(len(every.row), dtype=torch.bool, device=every.row.device)
        left_out[counted(predictions, self.score_thresh)] = False
        labels, scores = every.labels.masked_fill(left_out, -1), every.scores.masked_fill(left_out, 0.0)
        return Objects(every.values, labels, scores, every.row, every.num_images)
