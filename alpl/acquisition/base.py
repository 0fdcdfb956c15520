"""What an acquisition is: it declares what it needs and turns a context into a query.

A ranking writes :meth:`AbstractRanking.utility`; a ranking over objects writes
:meth:`alpl.acquisition.object_ranking.AbstractObjectRanking.object_values`; a set method writes
:meth:`AbstractAcquisition.select`.
"""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from alpl.machine.files import whole_file
from alpl.machine.seeding import generator
from alpl.pool import Index, Pool
from alpl.predictions import Need, Posterior, Predictions


@dataclass(frozen=True, eq=False)
class Context:
    """All that an acquisition may look at; a field is None unless it was asked for through ``needs``.

    Args:
        pool: who is labeled.
        budget: images to choose, b.
        seed: for every random draw of the acquisition, through :meth:`generator`.
        unlabeled: predictions of the unlabeled images; ``unlabeled.index`` equals ``pool.unlabeled``.
        labeled: the same for the labeled images.
        history: ``Int[E U]`` predicted label of each unlabeled image after each epoch; maybe memory-mapped.
        difficulty: ``Float[K]`` how hard each class was at the end of the training, in [0, 1].
        class_counts: ``Long[K]`` labeled images (objects in detection) of each class.
        targets: ``Long[U]`` true answers. Upper bounds only.
    """

    pool: Pool
    budget: int
    seed: int
    unlabeled: Predictions | None = None
    labeled: Predictions | None = None
    history: np.ndarray | None = None
    difficulty: Tensor | None = None
    class_counts: Tensor | None = None
    targets: Tensor | None = None

    def generator(self, name: str = "select") -> torch.Generator:
        """Give a fresh generator; the same name gives the same draws."""
        return generator(self.seed, name)

    @property
    def predictions(self) -> Predictions:
        """The predictions of the unlabeled images; asserts that they were asked for."""
        assert self.unlabeled is not None, "the acquisition must declare Need.POSTERIOR or another model output"
        return self.unlabeled

    @property
    def posterior(self) -> Posterior:
        """The posterior of the unlabeled images, one each; asserts that it was asked for.

        Raises:
            ValueError: images have several instances, or none; their values must be reduced to one an image.
        """
        assert self.predictions.posterior is not None, "the acquisition must declare Need.POSTERIOR"
        return self._one_each(self.predictions.posterior)

    @property
    def views(self) -> Posterior:
        """The views of the unlabeled images, ``[V U C]``, one instance each; asserts that they were asked for.

        Raises:
            ValueError: as for :attr:`posterior`.
        """
        assert self.predictions.views is not None, "the acquisition must declare Need.VIEWS"
        return self._one_each(self.predictions.views)

    def _one_each(self, posterior: Posterior) -> Posterior:
        row = self.predictions.row
        if not torch.equal(row, torch.arange(self.predictions.num_images, device=row.device)):
            raise ValueError(
                f"predictions must hold one instance an image, got {len(row)} for {self.predictions.num_images}: "
                "detections need an acquisition over objects, such as detection_entropy"
            )
        return posterior


@final
@dataclass(frozen=True, eq=False)
class Query:
    """The images to be labeled next.

    Args:
        index: ``Long[b]`` dataset indices in the order of choice.
        utility: ``Float[b]`` the value that each had when it was chosen.
        pool_utility: ``Float[U]`` the value of every unlabeled image, for rankings.
        object_utility: ``Float[I]`` the value of every instance of the unlabeled images, NaN where it did not count,
            for rankings over objects. Galleries show it; it is not saved.
    """

    index: Index
    utility: Tensor
    pool_utility: Tensor | None = None
    object_utility: Tensor | None = None

    def save(self, path: Path) -> None:
        """Write a CSV that a person can read: rank, index, utility (shortest text that gives the same float)."""
        with whole_file(path) as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["rank", "index", "utility"])
            for rank, (index, utility) in enumerate(zip(self.index.tolist(), self.utility.tolist(), strict=True)):
                writer.writerow([rank, index, repr(utility)])

    @classmethod
    def load(cls, path: Path) -> Query:
        """Read what :meth:`save` wrote."""
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        return cls(
            torch.tensor([int(row["index"]) for row in rows], dtype=torch.long),
            torch.tensor([float(row["utility"]) for row in rows], dtype=torch.float64),
        )


class AbstractAcquisition(ABC):
    """Chooses the images to label."""

    needs: Need = Need.NOTHING
    """What the context must hold."""

    image_layers: frozenset[int] = frozenset()
    """Of how many maps image features must be the averages, one after the other; empty where that does not matter."""

    can_rehearse: bool = True
    """Whether it can choose from any pool, so that it is tried on a made-up one before any training."""

    @abstractmethod
    def select(self, context: Context) -> Query:
        """Choose ``context.budget`` different unlabeled images."""


class AbstractRanking(AbstractAcquisition):
    """Values every unlabeled image on its own; the highest values are chosen, ties by a seeded draw."""

    @abstractmethod
    def utility(self, context: Context) -> Tensor:
        """``Float[U]``: value of each image of ``context.pool.unlabeled``, higher = chosen first, finite."""

    @final
    def select(self, context: Context) -> Query:
        """Choose the images of highest utility.

        Raises:
            ValueError: see :func:`choose_highest`.
        """
        return choose_highest(type(self).__name__, self.utility(context), context)


def choose_highest(name: str, values: Tensor, context: Context, object_utility: Tensor | None = None) -> Query:
    """Choose the images of highest utility, ties by a seeded draw.

    Args:
        name: of the acquisition, for messages.
        values: ``Float[U]``.
        context: its pool, budget and seed.
        object_utility: what the query is to carry of each instance.

    Raises:
        ValueError: the utility has the wrong shape, or holds NaN or infinite values; or the budget is negative or
            exceeds the unlabeled images.
    """
    unlabeled = context.pool.unlabeled
    utility = values.detach().cpu().double()
    if utility.shape != unlabeled.shape:
        raise ValueError(f"{name}.utility must be Float[{len(unlabeled)}], got shape {list(utility.shape)}")
    if (bad := ~utility.isfinite()).any():
        where = unlabeled[bad][:5].tolist()
        raise ValueError(f"{name}.utility must be finite, got {int(bad.sum())} NaN or infinite values, images {where}")
    if not 0 <= context.budget <= len(unlabeled):
        raise ValueError(f"budget must be in [0, {len(unlabeled)}] images, got {context.budget}")
    shuffled = torch.randperm(len(unlabeled), generator=context.generator("ties"))
    order = shuffled[torch.argsort(utility[shuffled], descending=True, stable=True)][: context.budget]
    return Query(unlabeled[order], utility[order], utility, object_utility)
