"""Who answers. The training code never sees an answer that was not asked for: it holds no other targets at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from alpl.pool import Index


class AbstractOracle(ABC):
    """Answers queries with targets."""

    @abstractmethod
    def annotate(self, index: Index) -> Tensor:
        """Give the targets of the images ``index`` (``Long[n]``), in that order."""


@final
class BenchmarkOracle(AbstractOracle):
    """Answers with the benchmark's own labels.

    Args:
        targets: ``Long[N]``, by dataset index.
    """

    def __init__(self, targets: Tensor) -> None:
        self._targets = targets

    def annotate(self, index: Index) -> Tensor:
        """See the base class.

        Raises:
            ValueError: an index is outside the data set, or no integer.
        """
        if index.dtype != torch.long:
            raise ValueError(f"index must be Long[n], got {index.dtype} of shape {list(index.shape)}")
        if (outside := index[(index < 0) | (index >= len(self._targets))]).numel():
            raise ValueError(f"index must lie in [0, {len(self._targets)}), got {outside[:5].tolist()}")
        return self._targets[index]
