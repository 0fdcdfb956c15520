"""MaxHerding (Bae et al. 2024, Generalized Coverage) and Uncertainty Herding (Bae et al. 2025)."""

from __future__ import annotations

from typing import Literal, final

from alpl.acquisition.base import AbstractAcquisition, Context, Query, check_ranking
from alpl.acquisition.kcenter import image_and_labeled_features
from alpl.errors import ConfigError
from alpl.predictions import Need
from alpl.selection.herding import herding, labeled_sigma


@final
class MaxHerding(AbstractAcquisition):
    """The images whose neighborhoods cover most of what labeled images do not cover yet.

    The paper's features are self-supervised (``pretrained=...``); nothing need be labeled.

    Args:
        sigma: of the kernel, on features of length 1.
        normalize: scale features to length 1.

    Raises:
        ConfigError: ``sigma`` is not finite and > 0.
    """

    needs = Need.IMAGE_FEATURES | Need.LABELED

    def __init__(self, sigma: float = 1.0, normalize: bool = True) -> None:
        self.sigma, self.normalize = check_sigma(sigma), normalize

    def select(self, context: Context) -> Query:
        """See :func:`alpl.selection.herding.herding`; the utility is the coverage that each added."""
        features, labeled = image_and_labeled_features(context)
        picks, gains = herding(features, labeled, context.budget, sigma=self.sigma, normalize=self.normalize)
        return Query(context.pool.unlabeled[picks], gains)


@final
class UncertaintyHerding(AbstractAcquisition):
    """The images whose neighborhoods hold most of the uncertainty that labeled images do not cover yet.

    The paper also scales the posterior by the temperature at which it is calibrated; here it is taken as the model
    gives it.

    Args:
        ranking: whose utility, not negative, is the uncertainty, of images or reduced from objects; the paper has the
            margin.
        sigma: of the kernel, on features of length 1; ``labeled``: the smallest distance between labeled images, as
            the paper adapts it, see :func:`alpl.selection.herding.labeled_sigma`.
        normalize: scale features to length 1.

    Raises:
        ConfigError: ``ranking`` is a set method, or ``sigma`` is neither ``labeled`` nor finite and > 0.
    """

    def __init__(
        self, ranking: AbstractAcquisition, sigma: float | Literal["labeled"] = "labeled", normalize: bool = True
    ) -> None:
        self.ranking = check_ranking(ranking, "ranking")
        self.sigma = sigma if sigma == "labeled" else check_sigma(sigma)
        self.normalize = normalize
        self.needs = ranking.needs | Need.IMAGE_FEATURES | Need.LABELED
        self.image_layers = ranking.image_layers

    def select(self, context: Context) -> Query:
        """See :func:`alpl.selection.herding.herding`; the utility is what each added.

        Raises:
            ValueError: an uncertainty is negative or not finite.
        """
        valued = self.ranking.valued(context)
        weights = valued.images.detach().cpu().double()
        features, labeled = image_and_labeled_features(context)
        sigma = labeled_sigma(labeled, normalize=self.normalize) if self.sigma == "labeled" else self.sigma
        picks, gains = herding(
            features, labeled, context.budget, weights=weights, sigma=sigma, normalize=self.normalize
        )
        return Query(context.pool.unlabeled[picks], gains, weights, valued.objects)


def check_sigma(sigma: float | str) -> float:
    """Give back a length.

    Raises:
        ConfigError: it is not finite and > 0.
    """
    if isinstance(sigma, str) or not 0 < sigma < float("inf"):
        raise ConfigError(f"acquisition.sigma must be finite and > 0, got {sigma}")
    return sigma
