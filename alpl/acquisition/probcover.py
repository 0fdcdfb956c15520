"""ProbCover (Yehuda, Dekel, Hacohen and Weinshall 2022, Active Learning Through a Covering Lens)."""

from __future__ import annotations

import logging
from typing import final

import torch

from alpl.acquisition.base import AbstractAcquisition, Context, Query
from alpl.acquisition.kcenter import image_and_labeled_features
from alpl.errors import ConfigError
from alpl.machine.seeding import integer
from alpl.predictions import Need
from alpl.selection.probcover import probcover, pure_radius

log = logging.getLogger(__name__)


@final
class ProbCover(AbstractAcquisition):
    r"""The images whose balls hold most images that no labeled image's ball holds yet.

    The paper's features are self-supervised (``pretrained=...``); nothing need be labeled.

    Args:
        delta: radius of a ball, on features of length 1; None: the largest at which ``purity`` of the balls are of one
            cluster, as the paper has it, see :func:`alpl.selection.probcover.pure_radius`. The log says it.
        num_clusters: of k-means, where ``delta`` is None: the number of classes; None: the outputs of the posterior.
        purity: :math:`\alpha`.
        normalize: scale features to length 1.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        delta: float | None = None,
        num_clusters: int | None = None,
        purity: float = 0.95,
        normalize: bool = True,
    ) -> None:
        if delta is not None and not 0 < delta < float("inf"):
            raise ConfigError(f"acquisition.delta must be null or finite and > 0, got {delta}")
        if num_clusters is not None and num_clusters < 1:
            raise ConfigError(f"acquisition.num_clusters must be null or >= 1, got {num_clusters}")
        if not 0 < purity <= 1:
            raise ConfigError(f"acquisition.purity must be in (0, 1], got {purity}")
        self.delta, self.num_clusters, self.purity, self.normalize = delta, num_clusters, purity, normalize
        self.needs = Need.IMAGE_FEATURES | Need.LABELED
        if delta is None and num_clusters is None:
            self.needs |= Need.POSTERIOR

    def select(self, context: Context) -> Query:
        """See :func:`alpl.selection.probcover.probcover`; the utility is how many images each covered newly.

        Raises:
            ValueError: all balls are pure, as there is one cluster, and no ``delta`` is given.
        """
        features, labeled = image_and_labeled_features(context)
        delta = self.delta
        if delta is None:
            points = torch.cat([features, labeled])
            number = min(self._num_clusters(context), len(points))
            seed = integer(context.generator("k-means"), 2**31 - 1)
            delta = pure_radius(points, number, purity=self.purity, seed=seed, normalize=self.normalize)
            log.info(
                "ProbCover: delta %.6g, at which %g of the balls are of one of %d clusters", delta, self.purity, number
            )
            if not 0 < delta < float("inf"):
                raise ValueError(f"acquisition.delta must be given where {number} clusters give a radius of {delta}")
        picks, covered = probcover(features, labeled, context.budget, delta=delta, normalize=self.normalize)
        return Query(context.pool.unlabeled[picks], covered)

    def _num_clusters(self, context: Context) -> int:
        if self.num_clusters is not None:
            return self.num_clusters
        posterior = context.predictions.posterior
        assert posterior is not None, "Need.POSTERIOR was declared"
        return posterior.foreground.shape[-1]
