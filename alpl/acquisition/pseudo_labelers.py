"""Who makes pseudo-labels of objects: a threshold, or a share of each class (Elezi et al., sec. 3.2 and Table 5)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from alpl.acquisition.base import Context
from alpl.errors import ConfigError
from alpl.labeling.pseudo_labels import AbstractPseudoLabels, PseudoLabels
from alpl.predictions import Need, Predictions


class AbstractPseudoLabeler(ABC):
    """Makes pseudo-labels of what a trained model says of unlabeled images."""

    needs: Need
    """What the context must hold."""

    @abstractmethod
    def label(self, context: Context) -> AbstractPseudoLabels:
        """Label those of the context's unlabeled images that the model is sure of."""


class AbstractObjectLabeler(AbstractPseudoLabeler):
    """Makes pseudo-labels of detections.

    Args:
        truncate: cut the boxes to whole pixels (``as_released``).
    """

    needs = Need.BOXES | Need.SIZES

    def __init__(self, truncate: bool = False) -> None:
        self.truncate = truncate

    @abstractmethod
    def choose(self, predictions: Predictions) -> Tensor:
        """``Long[T]``: the instances that become pseudo-labels, ascending."""

    @final
    def label(self, context: Context) -> PseudoLabels:
        """See the base class. Boxes are clipped to their image; those with a side of less than a pixel are left out."""
        predictions, sizes = context.predictions, context.sizes
        assert sizes is not None, "Need.SIZES was declared"
        assert predictions.labels is not None and predictions.scores is not None and predictions.boxes is not None
        chosen = self.choose(predictions)
        row = predictions.row[chosen]
        boxes = predictions.boxes[chosen].float()
        limits = sizes[row][:, [1, 0, 1, 0]].to(boxes)
        boxes = torch.minimum((boxes.trunc() if self.truncate else boxes).clamp(min=0), limits)
        kept = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(1)
        row, chosen, boxes = row[kept], chosen[kept], boxes[kept]
        order = torch.argsort(predictions.index[row], stable=True)
        row, chosen, boxes = row[order], chosen[order], boxes[order]
        return PseudoLabels(predictions.index[row], predictions.labels[chosen], predictions.scores[chosen], boxes)


@final
class ConfidentObjects(AbstractObjectLabeler):
    r"""All objects with a confidence of at least :math:`\tau_2`, whatever their class (Elezi et al., sec. 3.2).

    Args:
        score_thresh: :math:`\tau_2`. The paper uses 0.99; its released configuration for COCO has 0.75.
        truncate: see :class:`AbstractObjectLabeler`.

    Raises:
        ConfigError: the threshold is outside [0, 1].
    """

    def __init__(self, score_thresh: float = 0.99, truncate: bool = False) -> None:
        super().__init__(truncate)
        if not 0 <= score_thresh <= 1:
            raise ConfigError(f"pseudo_labels.score_thresh must be in [0, 1], got {score_thresh}")
        self.score_thresh = score_thresh

    def choose(self, predictions: Predictions) -> Tensor:
        """See the base class."""
        assert predictions.scores is not None, "every detector gives scores"
        return (predictions.scores >= self.score_thresh).nonzero().flatten()


@final
class TopPerClass(AbstractObjectLabeler):
    """The most confident share of the objects of each class (Elezi et al., Table 5: 20, 30 and 40 %).

    The paper does not say which detections are objects here; those with a score of at least ``score_thresh`` are. The
    number is rounded up; of equal scores the first comes first.

    Args:
        fraction: the share, in (0, 1].
        score_thresh: what counts as an object.
        truncate: see :class:`AbstractObjectLabeler`.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(self, fraction: float, score_thresh: float = 0.5, truncate: bool = False) -> None:
        super().__init__(truncate)
        if not 0 < fraction <= 1:
            raise ConfigError(f"pseudo_labels.fraction must be in (0, 1], got {fraction}")
        if not 0 <= score_thresh <= 1:
            raise ConfigError(f"pseudo_labels.score_thresh must be in [0, 1], got {score_thresh}")
        self.fraction = fraction
        self.score_thresh = score_thresh

    def choose(self, predictions: Predictions) -> Tensor:
        """See the base class."""
        assert predictions.scores is not None and predictions.labels is not None, "every detector gives both"
        objects = (predictions.scores >= self.score_thresh).nonzero().flatten()
        labels = predictions.labels[objects]
        chosen = [objects[:0]]
        for label in labels.unique():
            own = objects[labels == label]
            number = math.ceil(self.fraction * len(own) - 1e-9)  # 0.1 * 30 is above 3 in floating point
            best = torch.argsort(predictions.scores[own], descending=True, stable=True)
            chosen.append(own[best[:number]])
        return torch.cat(chosen).sort().values
