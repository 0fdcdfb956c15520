"""How a detector's last layer is to be read: what its numbers are trained to be, and what they say in a test.

A detector has one class head and one box head, which are chosen by themselves. They hold no parameters: the network's
last layer has :meth:`AbstractClassHead.num_values` and :meth:`AbstractBoxHead.num_values` outputs a prior or proposal.

Axes: C = K + 1 outputs (0 is the background), W values of the class head, X of the box head; any axes before them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from alpl.errors import ConfigError
from alpl.losses.multibox import cross_entropy, smooth_l1


class AbstractClassHead(ABC):
    """Reads what the last layer says about classes; its first C values are (a component's) logits."""

    gives_uncertainties: ClassVar[bool] = False
    """Whether :meth:`uncertainties` gives numbers."""

    @abstractmethod
    def num_values(self, num_outputs: int) -> int:
        """Give W, of C."""

    @abstractmethod
    def logits(self, values: Tensor) -> Tensor:
        """``[... W]`` -> ``[... C]``: their softmax is the posterior."""

    @abstractmethod
    def losses(self, values: Tensor, labels: Tensor) -> Tensor:
        """``Float[... W]``, ``Long[...]`` (0 for the background) -> ``Float[...]``."""

    def uncertainties(self, values: Tensor, labels: Tensor) -> Tensor:
        """``[... W]``, ``Long[...]`` -> ``Float[... 2]``: aleatoric and epistemic, of the output that is named; NaN."""
        return values.new_full((*values.shape[:-1], 2), torch.nan, dtype=torch.float32)


class AbstractBoxHead(ABC):
    """Reads what the last layer says about a box; its first 4 values are (a component's) deltas."""

    gives_uncertainties: ClassVar[bool] = False
    """Whether :meth:`uncertainties` gives numbers."""

    @property
    @abstractmethod
    def num_values(self) -> int:
        """X."""

    @abstractmethod
    def deltas(self, values: Tensor) -> Tensor:
        """``[... X]`` -> ``[... 4]``, see :func:`alpl.boxes.box_coding.decode`."""

    @abstractmethod
    def losses(self, values: Tensor, aims: Tensor) -> Tensor:
        """``Float[... X]``, ``Float[... 4]`` deltas of the target boxes -> ``Float[...]``."""

    def uncertainties(self, values: Tensor) -> Tensor:
        """``[... X]`` -> ``Float[... 2]``: aleatoric and epistemic; NaN."""
        return values.new_full((*values.shape[:-1], 2), torch.nan, dtype=torch.float32)


@final
@dataclass(frozen=True)
class SoftmaxClasses(AbstractClassHead):
    """Logits, trained by their cross-entropy."""

    def num_values(self, num_outputs: int) -> int:
        """C."""
        return num_outputs

    def logits(self, values: Tensor) -> Tensor:
        """See the base class: the values."""
        return values

    def losses(self, values: Tensor, labels: Tensor) -> Tensor:
        """See the base class."""
        return cross_entropy(values, labels)


@final
@dataclass(frozen=True)
class PointBoxes(AbstractBoxHead):
    """Deltas, trained by a smooth L1 loss (of a box its sum over the four).

    Args:
        beta: the distance from which the loss is linear: 1 in SSD, 1/9 in torchvision's Faster R-CNN.

    Raises:
        ConfigError: it is not positive.
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ConfigError(f"boxes.beta must be > 0, got {self.beta}")

    @property
    def num_values(self) -> int:
        """4."""
        return 4

    def deltas(self, values: Tensor) -> Tensor:
        """See the base class: the values."""
        return values

    def losses(self, values: Tensor, aims: Tensor) -> Tensor:
        """See the base class."""
        return smooth_l1(values, aims, self.beta)


@final
@dataclass(frozen=True)
class Heads:
    """The two heads of a detector."""

    classes: AbstractClassHead = SoftmaxClasses()
    boxes: AbstractBoxHead = PointBoxes()

    @property
    def give_uncertainties(self) -> bool:
        """Whether one of them does."""
        return self.classes.gives_uncertainties or self.boxes.gives_uncertainties

    def uncertainties(self, classes: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        """Give the columns of :data:`alpl.predictions.UNCERTAINTIES`.

        Args:
            classes: ``[D W]`` of detections.
            boxes: ``[D X]``.
            labels: ``Long[D]``, 0 is the first foreground class.

        Returns:
            ``Float[D 4]``.
        """
        return torch.cat([self.classes.uncertainties(classes, labels + 1), self.boxes.uncertainties(boxes)], -1)
