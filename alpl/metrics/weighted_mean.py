"""A weighted mean over batches and processes that waits for no device."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor
from torchmetrics import Metric


@final
class WeightedMean(Metric):
    """Sum of value times weight, over the sum of weights.

    torchmetrics' own ``MeanMetric`` looks for NaN in every update, for which a GPU is waited for; told not to look, it
    forgets the weights (1.9).
    """

    full_state_update = False
    total: Tensor
    weight: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, value: Tensor, weight: int) -> None:
        """Count a scalar ``value``, of so many."""
        self.total += value * weight
        self.weight += weight

    def compute(self) -> Tensor:
        """Give the mean, NaN of nothing."""
        return self.total / self.weight
