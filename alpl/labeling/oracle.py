"""Who answers. The training code never sees an answer that was not asked for: it holds no other targets at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol, final

import torch
from torch import Tensor

from alpl.pool import Index


class Targets(Protocol):
    """The targets of a data set, by dataset index."""

    def __len__(self) -> int:
        """N."""
        ...

    def __getitem__(self, index: Tensor) -> Any:
        """Give the targets of ``index``, ``Long[n]``."""
        ...


class AbstractOracle(ABC):
    """Answers queries with targets."""

    @abstractmethod
    def annotate(self, index: Index) -> Any:
        """Give the targets of the images ``index`` (``Long[n]``), in that order.

        In the form that the data module takes back: ``Long[n]`` classes, or a list of n ``Objects``.
        """


@final
class BenchmarkOracle(AbstractOracle):
    """Answers with the benchmark's own labels.

    Args:
        targets: of all N images, answers to an index ``Long[n]``: ``Long[N]`` classes, or an ``ObjectLookup``.
    """

    def __init__(self, targets: Targets) -> None:
        self._targets = targets

    def annotate(self, index: Index) -> Any:
        """See the base class.

        Raises:
            ValueError: an index is outside the data set, or no integer.
        """
        if index.dtype != torch.long:
            raise ValueError(f"index must be Long[n], got {index.dtype} of shape {list(index.shape)}")
        if (outside := index[(index < 0) | (index >= len(self._targets))]).numel():
            raise ValueError(f"index must lie in [0, {len(self._targets)}), got {outside[:5].tolist()}")
        return self._targets[index]
