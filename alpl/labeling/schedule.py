"""How many images are labeled when, and which ones the initial set holds."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, final

import torch
from torch import Tensor

from alpl.errors import ConfigError
from alpl.machine.seeding import generator
from alpl.pool import Index

Amount: TypeAlias = "int | float | str"


def num_images_of(amount: Amount, total: int, name: str = "amount") -> int:
    """Turn an amount into a number of images.

    Args:
        amount: an int is images; a float in (0, 1] is a fraction of ``total``; "10%" is ten percent of it.
            Fractions are rounded to the nearest image, halves up.
        total: the images that take part (all but the excluded ones).
        name: what the error message calls the amount.

    Raises:
        ConfigError: the amount is none of these, is negative, or comes to more than ``total`` images or to 0.

    >>> num_images_of(2000, 50_000), num_images_of(0.1, 50_000), num_images_of("0.1 %", 50_000)
    (2000, 5000, 50)
    """
    given, expected = amount, "an int (images), a float in (0, 1] (a fraction) or a text such as '10%' (at most 100%)"
    if isinstance(amount, str):
        if not (match := re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*%\s*", amount)):
            raise ConfigError(f"{name} must be {expected}, got {amount!r}")
        amount = float(match.group(1)) / 100
    if isinstance(amount, bool) or not isinstance(amount, (int, float)):
        raise ConfigError(f"{name} must be {expected}, got {amount!r}")
    if isinstance(amount, float):
        if not 0 < amount <= 1:
            raise ConfigError(f"{name} must be {expected}, got {given!r}")
        number = int(amount * total + 0.5 + 1e-9)  # 0.29 * 100 is 28.999999999999996
    else:
        number = amount
    if not 0 < number <= total:
        came_to = "" if given is amount and isinstance(amount, int) else f" = {number} images"
        raise ConfigError(f"{name} must come to 1 to {total} images, got {given!r}{came_to}")
    return number


def _shown(budgets: Sequence[int]) -> str:
    """Give budgets for a message; of many the first ones."""
    return str(list(budgets)) if len(budgets) <= 10 else f"{list(budgets[:3])} and {len(budgets) - 3} more"


def _unrounded(amount: Amount, total: int) -> float:
    """Give the images of an amount that :func:`num_images_of` accepts, before rounding."""
    if isinstance(amount, str):
        return float(amount.strip().rstrip("%")) / 100 * total
    return amount * total if isinstance(amount, float) else amount


@dataclass(frozen=True)
class Candidates:
    """What an initial set may be drawn from.

    Args:
        index: ``Long[P]`` dataset indices that take part.
        targets: ``Long[P]`` their classes, or None where the task has none; only :class:`BalancedInitial` reads
            them, as the works that start from a balanced set do.
        reserved: ``Long[R]`` an initial set that the data set itself prescribes (long-tailed variants; of own images
            all that are labeled).
        annotated: ``Long[A]`` the images that have labels in the data set; None for all.
    """

    index: Index
    targets: Tensor | None = None
    reserved: Index | None = None
    annotated: Index | None = None


class AbstractInitialSet(ABC):
    """The images that are labeled before the first cycle."""

    @abstractmethod
    def draw(self, candidates: Candidates) -> Index:
        """Give ``Long[L]`` dataset indices, ascending."""


@final
class RandomInitial(AbstractInitialSet):
    """Uniform without replacement.

    Args:
        size: see :func:`num_images_of`.
        seed: the draw's own seed, so that all acquisitions of a table start from the same set.
    """

    def __init__(self, size: Amount, seed: int) -> None:
        self.size = size
        self.seed = seed

    def draw(self, candidates: Candidates) -> Index:
        """Draw; see the class."""
        total = candidates.index.numel()
        number = num_images_of(self.size, total, "schedule.initial.size")
        chosen = torch.randperm(total, generator=generator(self.seed, "initial"))[:number]
        return candidates.index[chosen].sort().values


@final
class BalancedInitial(AbstractInitialSet):
    """The same number of images of each class; a remainder goes to classes drawn at random, one each.

    Args:
        size: see :func:`num_images_of`.
        seed: the draw's own seed.
    """

    def __init__(self, size: Amount, seed: int) -> None:
        self.size = size
        self.seed = seed

    def draw(self, candidates: Candidates) -> Index:
        """Draw; see the class.

        Raises:
            ConfigError: the task has no classes, or a class has fewer images than its share.
        """
        if candidates.targets is None:
            raise ConfigError("schedule.initial must not be BalancedInitial: the data set has no class per image")
        number = num_images_of(self.size, candidates.index.numel(), "schedule.initial.size")
        chosen = balanced_draw(candidates.targets, number, self.seed)
        return candidates.index[chosen].sort().values


@final
class IndexFileInitial(AbstractInitialSet):
    """Read from a text file: one dataset index a line, or a ``pool.csv`` of another run: all that it says is labeled.

    Args:
        path: the file.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def draw(self, candidates: Candidates) -> Index:
        """Read; see the class.

        Raises:
            ConfigError: the file is missing, has a line that is no index, or names an image that takes no part.
        """
        try:
            lines = self.path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"schedule.initial.path must be a readable text file, got {self.path}: {error}"
            ) from error
        lines = [line.split("#")[0].strip() for line in lines]
        rows = [line.split(",") for line in lines if line and not line.startswith("index")]
        try:
            index = torch.tensor([int(row[0]) for row in rows if len(row) == 1 or int(row[1]) >= 0])
        except (RuntimeError, ValueError) as error:  # the first: a number that no tensor holds
            raise ConfigError(
                f"schedule.initial.path must hold one index a line, {self.path} does not: {error}"
            ) from error
        if index.numel() == 0:
            raise ConfigError(f"schedule.initial.path must name a labeled image, {self.path} names none")
        if (wrong := index[~torch.isin(index, candidates.index)]).numel():
            raise ConfigError(
                f"schedule.initial.path names images outside the pool: {wrong[:5].tolist()} in {self.path}"
            )
        if index.unique().numel() != index.numel():
            raise ConfigError(f"schedule.initial.path names an image more than once: {self.path}")
        return index.sort().values


@final
class ReservedInitial(AbstractInitialSet):
    """The set that the data set prescribes.

    Long-tailed variants keep a balanced one aside before they thin out; of own images it is all that have labels.
    """

    def draw(self, candidates: Candidates) -> Index:
        """Give it.

        Raises:
            ConfigError: the data set prescribes none.
        """
        if candidates.reserved is None:
            raise ConfigError("schedule.initial must not be ReservedInitial: the data set reserves no initial set")
        return candidates.reserved.sort().values


def balanced_draw(targets: Tensor, number: int, seed: int) -> Tensor:
    """Draw ``number`` positions of ``targets`` (``Long[P]``), the same count for every class that occurs.

    Raises:
        ConfigError: a class has fewer images than its share.
    """
    classes = targets.unique()
    random = generator(seed, "initial")
    share = torch.full((classes.numel(),), number // classes.numel())
    share[torch.randperm(classes.numel(), generator=random)[: number % classes.numel()]] += 1
    chosen = []
    for label, count in zip(classes.tolist(), share.tolist(), strict=True):
        members = (targets == label).nonzero().flatten()
        if members.numel() < count:
            raise ConfigError(
                f"a balanced initial set of {number} images needs {count} of class {label}, which has {members.numel()}"
            )
        chosen.append(members[torch.randperm(members.numel(), generator=random)[:count]])
    return torch.cat(chosen)


@final
class Schedule:
    """The initial set and the budget of each cycle.

    Args:
        initial: who draws the initial set.
        budget: images per cycle, see :func:`num_images_of`; or a list with one amount a cycle; or null for
            training on the initial set alone.
        cycles: how many times a query is made; needed (and allowed) only where ``budget`` is one amount.

    Raises:
        ConfigError: ``cycles`` does not fit ``budget``.
    """

    def __init__(
        self, initial: AbstractInitialSet, budget: Amount | Sequence[Amount] | None, cycles: int | None = None
    ) -> None:
        self.initial = initial
        if budget is None:
            amounts: list[Amount] = []
        elif isinstance(budget, (int, float, str)):
            if isinstance(cycles, bool) or not isinstance(cycles, int) or cycles < 0:
                raise ConfigError(f"schedule.cycles must be an int >= 0 beside one budget, got {cycles!r}")
            amounts = [budget] * cycles
        else:
            amounts = list(budget)
        if not isinstance(budget, (int, float, str)) and cycles not in (None, len(amounts)):
            raise ConfigError(
                f"schedule.cycles must be null or {len(amounts)} beside this list of budgets, got {cycles}"
            )
        self.amounts = amounts

    def budgets(self, num_images: int, num_initial: int) -> list[int]:
        """Give the images to buy in each cycle.

        Fractions that fit exactly but are rounded up past the end (30 % + 7 x 10 % of 16,555 images) leave the last
        cycle those few images less.

        Args:
            num_images: images that take part, the base of fractions.
            num_initial: size of the initial set.

        Raises:
            ConfigError: an amount is wrong, or together they exceed the pool.
        """
        budgets = [num_images_of(a, num_images, f"schedule.budget[{i}]") for i, a in enumerate(self.amounts)]
        unrounded = num_initial + sum(_unrounded(amount, num_images) for amount in self.amounts)
        if unrounded <= num_images + 0.5 and budgets:  # 0.5: the initial set may have been rounded up as well
            budgets[-1] = min(budgets[-1], num_images - num_initial - sum(budgets[:-1]))
        if (total := num_initial + sum(budgets)) > num_images:
            raise ConfigError(
                f"schedule.budget must leave the pool large enough: {num_initial} initial images and budgets of "
                f"{_shown(budgets)} come to {total}, but only {num_images} images take part"
            )
        return budgets
