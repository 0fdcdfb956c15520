"""What a learner is: the steps of a cycle's training, one after the other; and the usual one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

from alpl.acquisition.pseudo_labelers import AbstractPseudoLabeler
from alpl.errors import ConfigError


@final
@dataclass(frozen=True)
class Fit:
    """One training of a model.

    Args:
        stage: its name in the journal.
        model: number of the model: of its files, and of its seed.
        start: cycle and number of the model whose weights it goes on from; None for fresh ones.
        watched: whether callbacks record in it for the acquisition.
        takes_pseudo: whether it trains on the pseudo-labels that there are.
    """

    stage: str
    model: int
    start: tuple[int, int] | None = None
    watched: bool = False
    takes_pseudo: bool = True


@final
@dataclass(frozen=True)
class Label:
    """Pseudo-labels between two fits, of all images that are unlabeled in this cycle.

    Args:
        model: which one is asked.
    """

    model: int


Step: TypeAlias = Fit | Label


class AbstractLearner(ABC):
    """Says what is trained in a cycle, in which order."""

    num_models: int
    """Models whose weights a cycle leaves."""

    asked: tuple[int, ...]
    """The models that the acquisition asks, together where there are several."""

    tested: Mapping[str, tuple[int, ...]]
    """First part of a metric's name -> the models that are tested together under it; ``test`` is always there."""

    labeler: AbstractPseudoLabeler | None = None
    """Who labels in a :class:`Label` step. The images that it labels are not asked for in that cycle."""

    @abstractmethod
    def steps(self, cycle: int) -> Sequence[Step]:
        """What is done in a cycle."""


@final
class Members(AbstractLearner):
    """One network, or a deep ensemble of several that differ by their seeds.

    Args:
        number: of networks.
        warm_start: whether each goes on from its own weights of the last cycle.

    Raises:
        ConfigError: ``number`` is below 1.
    """

    def __init__(self, number: int = 1, warm_start: bool = False) -> None:
        if number < 1:
            raise ConfigError(f"num_members must be >= 1, got {number}")
        self.num_models, self.warm_start = number, warm_start
        self.asked = tuple(range(number))
        self.tested = {"test": self.asked}

    def steps(self, cycle: int) -> list[Step]:
        """A fit a member; the first is watched."""
        return [
            Fit(
                "fit" if member == 0 else f"fit_{member}",
                member,
                start=(cycle - 1, member) if self.warm_start and cycle else None,
                watched=member == 0,
            )
            for member in range(self.num_models)
        ]
