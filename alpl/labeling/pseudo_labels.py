"""Pseudo-labels: what a trained detector is sure of on unlabeled images becomes targets of the next one.

Elezi et al., sec. 3.2, "Pseudo-labeling to prevent distribution drift", and Table 5. The true objects of these images
are seen nowhere here.
"""

from __future__ import annotations

import csv
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from alpl.boxes.objects import Objects
from alpl.errors import ConfigError
from alpl.machine.files import whole_file
from alpl.pool import Index
from alpl.predictions import Need, Predictions

_COLUMNS = ("index", "label", "score", "x1", "y1", "x2", "y2")


@final
@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """T objects on unlabeled images, hard labels.

    Args:
        image: ``Long[T]`` dataset index of each object's image, ascending.
        labels: ``Long[T]``, 0 is the first foreground class.
        scores: ``Float[T]`` confidence; for the record, training does not see it.
        boxes: ``Float[T 4]`` xyxy, pixels of the original image.
    """

    image: Index
    labels: Tensor
    scores: Tensor
    boxes: Tensor

    @cached_property
    def index(self) -> Index:
        """``Long[n]`` dataset indices of the images that have any, ascending."""
        index: Tensor = self.image.unique()
        return index

    @cached_property
    def by_image(self) -> dict[int, Objects]:
        """The objects of each image, by dataset index."""
        counts = torch.unique_consecutive(self.image, return_counts=True)[1].tolist()
        objects = zip(self.boxes.split(counts), self.labels.split(counts), strict=True) if counts else ()
        none_difficult = (Objects(b, l, torch.zeros(len(l), dtype=torch.bool)) for b, l in objects)  # noqa: E741
        return dict(zip(self.index.tolist(), none_difficult, strict=True))

    def save(self, path: Path) -> None:
        """Write a CSV, one object a line; floats as the shortest text that gives the same number."""
        with whole_file(path) as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(_COLUMNS)
            scores, boxes = self.scores.double().tolist(), self.boxes.double().tolist()
            for image, label, score, box in zip(self.image.tolist(), self.labels.tolist(), scores, boxes, strict=True):
                writer.writerow([image, label, repr(score), *(repr(side) for side in box)])

    @classmethod
    def load(cls, path: Path) -> PseudoLabels:
        """Read what :meth:`save` wrote."""
        with path.open(encoding="utf-8", newline="") as stream:
            lines = list(csv.DictReader(stream))

        def column(name: str, dtype: torch.dtype) -> Tensor:
            numbers = [int(line[name]) if dtype is torch.long else float(line[name]) for line in lines]
            return torch.tensor(numbers, dtype=dtype)

        boxes = torch.stack([column(name, torch.float32) for name in _COLUMNS[3:]], 1)
        return cls(column("index", torch.long), column("label", torch.long), column("score", torch.float32), boxes)


class AbstractPseudoLabeler(ABC):
    """Makes pseudo-labels of the predictions that the acquisition saw.

    Args:
        truncate: cut the boxes to whole pixels (``as_released``).
    """

    needs: Need = Need.BOXES
    """What the predictions must hold."""

    def __init__(self, truncate: bool = False) -> None:
        self.truncate = truncate

    @abstractmethod
    def choose(self, predictions: Predictions) -> Tensor:
        """``Long[T]``: the instances that become pseudo-labels, ascending."""

    @final
    def label(self, predictions: Predictions, sizes: Tensor) -> PseudoLabels:
        """Make the pseudo-labels of some images.

        Boxes are clipped to their image. Those with a side of less than a pixel after that are left out.

        Args:
            predictions: labels, scores and boxes of N unlabeled images.
            sizes: ``Long[N 2]`` their heights and widths.
        """
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
class ConfidentObjects(AbstractPseudoLabeler):
    r"""All objects with a confidence of at least :math:`\tau_2`, whatever their class (Elezi et al., sec. 3.2).

    Args:
        score_thresh: :math:`\tau_2`. The paper uses 0.99; its released configuration for COCO has 0.75.
        truncate: see :class:`AbstractPseudoLabeler`.

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
class TopPerClass(AbstractPseudoLabeler):
    """The most confident share of the objects of each class (Elezi et al., Table 5: 20, 30 and 40 %).

    The paper does not say which detections are objects here; those with a score of at least ``score_thresh`` are. The
    number is rounded up; of equal scores the first comes first.

    Args:
        fraction: the share, in (0, 1].
        score_thresh: what counts as an object.
        truncate: see :class:`AbstractPseudoLabeler`.

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
