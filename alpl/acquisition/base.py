"""What an acquisition is: it declares what it needs and turns a context into a query.

A ranking writes :meth:`AbstractRanking.utility`; a ranking over objects writes
:meth:`alpl.acquisition.object_ranking.AbstractObjectRanking.object_values`; a set method writes
:meth:`AbstractAcquisition.select`; what narrows the pool before another one looks closer has several
:attr:`AbstractAcquisition.stages`.
"""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from alpl.boxes.footage import Footage
from alpl.errors import ConfigError
from alpl.machine.files import read_csv, reading, whole_file
from alpl.machine.seeding import derive_seed, generator
from alpl.motion import AbstractMotion
from alpl.pool import Index, Pool
from alpl.predictions import FIELDS, Need, Posterior, Predictions


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
        sizes: ``Long[U 2]`` height and width of each unlabeled image.
        targets: true answers for the unlabeled images, ``Long[U]`` or U ``Objects``. Upper bounds only.
        labeled_targets: the answers for the labeled images, ``Long[L]`` or L ``Objects``, which are paid for.
        footage: which image is which frame of which video; of all images, whoever takes part.
        motion: where what is seen in a frame is in the next one, and in the one before.

    All but the first three: see :data:`alpl.predictions.FIELDS`.
    """

    pool: Pool
    budget: int
    seed: int
    unlabeled: Predictions | None = None
    labeled: Predictions | None = None
    history: np.ndarray | None = None
    difficulty: Tensor | None = None
    class_counts: Tensor | None = None
    sizes: Tensor | None = None
    targets: Any = None
    labeled_targets: Any = None
    footage: Footage | None = None
    motion: AbstractMotion | None = None

    def among(self, images: Index) -> Context:
        """Give the context in which only some of the unlabeled images are: the others take no part.

        What is labeled stays as it is.

        Args:
            images: ``Long[n]`` dataset indices, ascending, all unlabeled, and in the predictions where there are any.

        Raises:
            ValueError: the predictions lack one of them.
        """
        positions = torch.searchsorted(self.pool.unlabeled, images)
        own = {row.name: getattr(self, row.name) for row in FIELDS if not row.in_predictions}
        narrowed = {
            row.name: _taken(own[row.name], positions, 1 if row.per == "epoch" else 0)
            for row in FIELDS
            if row.name in own and own[row.name] is not None and row.per in ("image", "epoch")
        }
        return replace(
            self,
            pool=self.pool.among(images),
            unlabeled=None if self.unlabeled is None else self.unlabeled.of(images),
            **narrowed,
        )

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
            ValueError: images have several instances, or none: their values must be reduced to one an image; or see
                :meth:`alpl.predictions.Posterior.checked`.
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
        return posterior.checked()


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
        """Read what :meth:`save` wrote.

        Raises:
            DataError: the file is no whole query.
        """
        what = "a query (rank,index,utility)"
        rows = read_csv(path, what, "index", "utility")
        with reading(path, what):
            return cls(
                torch.tensor([int(row["index"]) for row in rows], dtype=torch.long),
                torch.tensor([float(row["utility"]) for row in rows], dtype=torch.float64),
            )


@final
@dataclass(frozen=True)
class Stage:
    """One look at the images that are left: what it needs is predicted for them alone.

    Args:
        acquisition: chooses those that the next stage looks at, or in the last stage the query.
        number: how many, of the budget b.
        depth: how many times the seed is derived anew, so that two stages of one kind draw different numbers.
    """

    acquisition: AbstractAcquisition
    number: Callable[[int], int] = int
    depth: int = 0

    def choose(self, context: Context) -> Query:
        """Choose out of the images that are left.

        Args:
            context: of these images; budget and seed are the whole acquisition's.
        """
        seed = context.seed
        for _ in range(self.depth):
            seed = derive_seed(seed, "then")
        number = min(self.number(context.budget), len(context.pool.unlabeled))
        return self.acquisition.select(replace(context, seed=seed, budget=number))


class AbstractAcquisition(ABC):
    """Chooses the images to label."""

    needs: Need = Need.NOTHING
    """What the context must hold, of all stages."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Its looks at the unlabeled images, each at those that the one before left; most have one."""
        return (Stage(self),)

    image_layers: frozenset[int] = frozenset()
    """Of how many maps image features must be the averages, one after the other; empty where that does not matter."""

    can_rehearse: bool = True
    """Whether it can choose from any pool, so that it is tried on a made-up one before any training."""

    @abstractmethod
    def select(self, context: Context) -> Query:
        """Choose ``context.budget`` different unlabeled images."""


@final
@dataclass(frozen=True, eq=False)
class Valued:
    """What a ranking says of a context.

    Args:
        images: ``Float[U]`` the utility of each unlabeled image.
        objects: ``Float[I]`` that of each instance, NaN where it did not count; None for rankings of whole images.
    """

    images: Tensor
    objects: Tensor | None = None


class AbstractRanking(AbstractAcquisition):
    """Values every unlabeled image on its own; the highest values are chosen, ties by a seeded draw.

    The base of all rankings, over images and over objects: what wraps one takes either.
    """

    @abstractmethod
    def utility(self, context: Context) -> Tensor:
        """``Float[U]``: value of each image of ``context.pool.unlabeled``, higher = chosen first, finite."""

    def valued(self, context: Context) -> Valued:
        """Give the utilities, and those of the instances where the ranking has any."""
        return Valued(self.utility(context))

    @final
    def select(self, context: Context) -> Query:
        """Choose the images of highest utility.

        Raises:
            ValueError: see :func:`choose_highest`.
        """
        found = self.valued(context)
        return choose_highest(type(self).__name__, found.images, context, found.objects)


def check_ranking(ranking: AbstractAcquisition, name: str) -> AbstractRanking:
    """Give back what is a ranking.

    Args:
        ranking: what is to be wrapped.
        name: of the argument, for the message.

    Raises:
        ConfigError: it is a set method.
    """
    if not isinstance(ranking, AbstractRanking):
        raise ConfigError(f"acquisition.{name} must give each image a utility, got {type(ranking).__name__}")
    return ranking


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


def _taken(values: Any, positions: Tensor, axis: int) -> Any:
    """``values[positions]`` along an axis, of a tensor, an array or a list."""
    if isinstance(values, Tensor):
        return values.index_select(axis, positions.to(values.device))
    if isinstance(values, np.ndarray):
        return np.take(values, positions.numpy(), axis)
    return [values[position] for position in positions.tolist()]
