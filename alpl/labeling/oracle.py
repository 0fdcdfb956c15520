"""Who answers. The training code never sees an answer that was not asked for: it holds no other targets at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, final

import torch
from torch import Tensor

from alpl.boxes.objects import Objects
from alpl.errors import ConfigError
from alpl.exchange import Answer
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

    knows_all: bool = True
    """Whether it answers for every image at once. Else the run asks, waits, and hands over what was answered."""

    def begin(self, initial: Index) -> None:  # noqa: B027  (who knows all need not hear of it)
        """Hear which images (``Long[L]``) are labeled from the beginning."""

    def take(self, answers: Mapping[int, Answer], classes: Sequence[str]) -> None:  # noqa: B027
        """Hear what was answered to a query, by dataset index, and how the K classes are called."""

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


@final
class PersonOracle(AbstractOracle):
    """Answers with the data set's own labels for the initial set, and for all other images with what a person said.

    All other labels of the data set are dropped at once, where it has any.

    Args:
        targets: as of :class:`BenchmarkOracle`.
        least_score: of what the model finds on an image, to be shown to the person, in [0, 1].

    Raises:
        ConfigError: ``least_score`` is out of range.
    """

    knows_all = False

    def __init__(self, targets: Targets, least_score: float = 0.3) -> None:
        if not 0 <= least_score <= 1:
            raise ConfigError(f"oracle.least_score must lie in [0, 1], got {least_score!r}")
        self.least_score = least_score
        self._targets: Targets | None = targets
        self._asks_classes = isinstance(targets, Tensor)
        self._known: dict[int, Any] = {}

    @property
    def asks_classes(self) -> bool:
        """Whether an image has one class, and no objects."""
        return self._asks_classes

    def begin(self, initial: Index) -> None:
        """Keep the labels of the initial set, and no others."""
        assert self._targets is not None, "a run begins once"
        self._known = dict(zip(initial.tolist(), self._targets[initial], strict=True))
        self._targets = None

    def take(self, answers: Mapping[int, Answer], classes: Sequence[str]) -> None:
        """See the base class."""
        labels = {name: label for label, name in enumerate(classes)}
        self._known |= {index: self._target(answer, labels) for index, answer in answers.items()}

    def annotate(self, index: Index) -> Any:
        """See the base class.

        Raises:
            ValueError: an image was not asked about.
        """
        if unknown := [each for each in index.tolist() if each not in self._known]:
            raise ValueError(f"index must hold images that a person has answered for, got {unknown[:5]}")
        known = [self._known[each] for each in index.tolist()]
        return torch.tensor([int(each) for each in known], dtype=torch.long) if self._asks_classes else known

    def _target(self, answer: Answer, labels: Mapping[str, int]) -> Any:
        if self._asks_classes:
            return labels[answer.items[0].label]
        return Objects(
            torch.tensor([item.box for item in answer.items], dtype=torch.float32).reshape(-1, 4),
            torch.tensor([labels[item.label] for item in answer.items], dtype=torch.long),
            torch.tensor([item.difficult for item in answer.items], dtype=torch.bool),
        )
