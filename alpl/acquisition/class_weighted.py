"""Rankings over objects in which the predicted classes do not count alike (PPAL's DCUS and D-Freq).

Axes: K classes, J instances that count.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from alpl.acquisition.base import Context
from alpl.acquisition.object_ranking import AbstractObjectRanking, ObjectValues
from alpl.errors import ConfigError
from alpl.predictions import Need

_LEAST_ALPHA = 0.005  # e^(1 / 0.0014) is beyond a double


class AbstractClassWeights(ABC):
    """Says how much an instance of each class counts."""

    needs: Need = Need.NOTHING
    """What the context must hold."""

    @abstractmethod
    def of_classes(self, context: Context) -> Tensor:
        """``Float64[K]``, not negative."""


@final
@dataclass(frozen=True)
class DifficultyWeights(AbstractClassWeights):
    r"""Classes that were hard in training count more (PPAL, Eq. 4).

    .. math:: w_i = 1 + \alpha \beta \ln(1 + \gamma d_i), \qquad \gamma = e^{1 / \alpha} - 1

    for difficulties d in [0, 1], see :mod:`alpl.losses.difficulty`: from 1 to :math:`1 + \beta`.

    Args:
        alpha: the smaller, the faster the weight rises with the first bit of difficulty; 0.3 in PPAL.
        beta: how much more than 1 the hardest class counts; 0.2 in PPAL.

    Raises:
        ConfigError: ``alpha`` is not finite and >= 0.005, or ``beta`` not finite and >= 0.
    """

    alpha: float = 0.3
    beta: float = 0.2

    needs = Need.DIFFICULTY

    def __post_init__(self) -> None:
        if not (math.isfinite(self.alpha) and self.alpha >= _LEAST_ALPHA):
            raise ConfigError(f"weights.alpha must be finite and >= {_LEAST_ALPHA}, got {self.alpha}")
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise ConfigError(f"weights.beta must be finite and >= 0, got {self.beta}")

    def of_classes(self, context: Context) -> Tensor:
        """See the base class."""
        assert context.difficulty is not None, "Need.DIFFICULTY was declared"
        gamma = math.expm1(1 / self.alpha)
        return 1 + self.alpha * self.beta * torch.log1p(gamma * context.difficulty.double())


@final
@dataclass(frozen=True)
class FrequencyWeights(AbstractClassWeights):
    """Classes that are rare among the labeled objects count more (PPAL sec. 4.3, "DCUS-Freq"): one less their share.

    Where nothing is labeled all count 1. A class that is alone counts 0.
    """

    needs = Need.CLASS_COUNTS

    def of_classes(self, context: Context) -> Tensor:
        """See the base class."""
        assert context.class_counts is not None, "Need.CLASS_COUNTS was declared"
        counts = context.class_counts.double()
        return 1 - counts / counts.sum().clamp(min=1)


@final
class ClassWeighted(AbstractObjectRanking):
    r"""A ranking over objects whose values are multiplied by the weights of the predicted classes (PPAL, Eq. 5).

    .. math:: u(x) = \operatorname{reduce}_i\; w_{c(i)}\, v_i

    over the instances that count in the inner ranking, with its values v; c are their labels.

    Args:
        ranking: the inner one; reduction and value of images without an instance are its own.
        weights: w.

    Raises:
        ConfigError: ``ranking`` does not value objects, or ``weights`` gives none.
    """

    def __init__(self, ranking: AbstractObjectRanking, weights: AbstractClassWeights) -> None:
        if not isinstance(ranking, AbstractObjectRanking):
            raise ConfigError(f"acquisition.ranking must give each object a value, got {type(ranking).__name__}")
        if not isinstance(weights, AbstractClassWeights):
            raise ConfigError(f"acquisition.weights must be weights of classes, got {type(weights).__name__}")
        super().__init__(ranking.reduction, ranking.empty)
        self.ranking, self.weights = ranking, weights
        self.needs = ranking.needs | weights.needs
        self.image_layers = ranking.image_layers

    def object_values(self, context: Context) -> ObjectValues:
        """See the base class.

        Raises:
            ValueError: an instance is of a class without a weight; or see the inner ranking.
        """
        found = self.ranking.object_values(context)
        assert context.predictions.labels is not None, "every module gives labels"
        labels = context.predictions.labels[found.chosen].long()
        weights = self.weights.of_classes(context).to(found.values)
        if len(labels) and int(labels.max()) >= len(weights):
            raise ValueError(f"weights must be of {int(labels.max()) + 1} or more classes, got {len(weights)}")
        return ObjectValues(found.chosen, found.values * weights[labels])
