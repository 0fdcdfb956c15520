"""Classification accuracy, over all images and per class."""

from __future__ import annotations

from typing import Any, final

from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy


@final
class TestAccuracy(nn.Module):
    """Accumulates predicted classes over batches and processes.

    Args:
        num_classes: K.
    """

    __test__ = False  # not one of pytest's

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.overall = MulticlassAccuracy(num_classes, average="micro")
        self.per_class = MulticlassAccuracy(num_classes, average="none")

    def update(self, labels: Tensor | None, targets: Tensor) -> None:
        """Count ``Long[B]`` predicted against true classes."""
        assert labels is not None, "every module gives labels"
        self.overall.update(labels, targets)
        self.per_class.update(labels, targets)

    def results(self) -> dict[str, Any]:
        """Give ``test/accuracy`` in [0, 1] and ``test/accuracy_per_class``, K of them (0 where a class has no image).

        Forgets the counts.
        """
        found = {
            "test/accuracy": float(self.overall.compute()),
            "test/accuracy_per_class": self.per_class.compute().tolist(),
        }
        self.overall.reset()
        self.per_class.reset()
        return found
