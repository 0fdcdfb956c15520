"""Random sampling: uniform without replacement."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from alpl.acquisition.base import AbstractRanking, Context


@final
class RandomSampling(AbstractRanking):
    """Uniform without replacement."""

    def utility(self, context: Context) -> Tensor:
        """``Float[U]``: uniform draws; the largest b of them are a uniform sample."""
        number = context.pool.unlabeled.numel()
        return torch.rand(number, generator=context.generator("random"), dtype=torch.float64)
