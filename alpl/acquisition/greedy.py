"""Greedy acquisitions, and class balance around any of them (thesis sec. 4.4, Algorithm 2)."""

from __future__ import annotations

from abc import abstractmethod
from typing import final

from alpl.acquisition.base import AbstractAcquisition, Context, Query
from alpl.acquisition.class_balanced import check_weight, class_shares, lacking
from alpl.errors import ConfigError
from alpl.predictions import Need
from alpl.selection.balanced_greedy import balanced_greedy
from alpl.selection.gains import AbstractGain


class AbstractGreedy(AbstractAcquisition):
    """Picks one image after the other, each time the one that gains most."""

    @abstractmethod
    def gain(self, context: Context) -> AbstractGain:
        """Give the gains of the unlabeled images."""


@final
class BalancedGreedy(AbstractAcquisition):
    r"""What a greedy acquisition gains most by, as long as the predicted classes stay balanced.

    See :func:`alpl.selection.balanced_greedy.balanced_greedy`. Of k-center, the one that the thesis prints,
    :class:`alpl.acquisition.BalancedKCenter` makes the same picks sooner.

    Args:
        greedy: k-center (``KCenter``), CDAL or NORIS; of detectors, too, see
            :func:`alpl.acquisition.class_balanced.class_shares`.
        weight: :math:`\lambda`, in units of its gains.

    Raises:
        ConfigError: ``greedy`` is none, or ``weight`` is not finite and >= 0.
    """

    def __init__(self, greedy: AbstractAcquisition, weight: float = 1.0) -> None:
        if not isinstance(greedy, AbstractGreedy):
            raise ConfigError(f"acquisition.greedy must be k-center, CDAL or NORIS, got {type(greedy).__name__}")
        self.greedy, self.weight = greedy, check_weight(weight)
        self.needs = greedy.needs | Need.POSTERIOR | Need.CLASS_COUNTS
        self.image_layers = greedy.image_layers

    def select(self, context: Context) -> Query:
        """Choose one image after the other; the utility is the gain of each when it was picked."""
        shares, targets = class_shares(context), lacking(context)
        picks, gains = balanced_greedy(self.greedy.gain(context), shares, targets, self.weight, context.budget)
        return Query(context.pool.unlabeled[picks], gains)
