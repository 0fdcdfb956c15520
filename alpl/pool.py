"""Pool: which image is labeled since which cycle. Dataset indices only; there is no second index space."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from alpl.errors import DataError
from alpl.machine.files import reading, whole_file

UNLABELED = -1
EXCLUDED = -2  # never labeled, never queried: validation images, images that a long-tailed variant drops

Index: TypeAlias = Tensor  # Long[...], dataset indices


@dataclass(frozen=True, eq=False)
class Pool:
    """The labeling state of a data set; immutable, :meth:`reveal` gives a new one.

    Args:
        cycle: ``Long[N]``. -2 excluded, -1 unlabeled, 0 in the initial set, c queried in cycle c - 1 and
            therefore trained on from cycle c.

    >>> pool = Pool.create(6, initial=torch.tensor([4, 0]))
    >>> pool = pool.reveal(torch.tensor([5]))
    >>> pool.cycle.tolist(), pool.labeled.tolist(), pool.unlabeled.tolist()
    ([0, -1, -1, -1, 0, 1], [0, 4, 5], [1, 2, 3])
    """

    cycle: Tensor

    def __post_init__(self) -> None:
        if self.cycle.dtype != torch.long or self.cycle.ndim != 1:
            raise ValueError(f"cycle must be Long[N], got {self.cycle.dtype} of shape {list(self.cycle.shape)}")
        if (wrong := self.cycle[self.cycle < EXCLUDED]).numel():
            raise ValueError(f"cycle must be >= {EXCLUDED}, got {wrong[:5].tolist()}")

    @classmethod
    def create(cls, num_images: int, initial: Index, excluded: Index | None = None) -> Pool:
        """Make the pool of cycle 0.

        Args:
            num_images: N, all images of the training set.
            initial: ``Long[L]`` indices of the initial set.
            excluded: ``Long[X]`` indices that take no part.

        Raises:
            ValueError: an index is out of range, repeated, or both initial and excluded.
        """
        cycle = torch.full((num_images,), UNLABELED, dtype=torch.long)
        if excluded is not None:
            cycle[_checked(excluded, num_images, "excluded")] = EXCLUDED
        initial = _checked(initial, num_images, "initial")
        if (taken := initial[cycle[initial] == EXCLUDED]).numel():
            raise ValueError(f"initial must not hold excluded images, got {taken[:5].tolist()}")
        cycle[initial] = 0
        return cls(cycle)

    @property
    def num_images(self) -> int:
        """All images of the training set, the excluded ones too: N."""
        return self.cycle.numel()

    @property
    def num_labeled(self) -> int:
        """How many images are labeled."""
        return int((self.cycle >= 0).sum())

    @property
    def labeled(self) -> Index:
        """``Long[L]``, ascending."""
        return (self.cycle >= 0).nonzero().flatten()

    @property
    def unlabeled(self) -> Index:
        """``Long[U]``, ascending."""
        return (self.cycle == UNLABELED).nonzero().flatten()

    def reveal(self, index: Index) -> Pool:
        """Give the pool of the next cycle, in which ``index`` (``Long[b]``) is labeled.

        Raises:
            ValueError: an index is out of range, repeated, labeled already, or excluded.
        """
        index = _checked(index, self.num_images, "index")
        if (wrong := index[self.cycle[index] != UNLABELED]).numel():
            raise ValueError(f"index must hold unlabeled images only, got {wrong[:5].tolist()}")
        cycle = self.cycle.clone()
        cycle[index] = max(int(self.cycle.max()), -1) + 1
        return Pool(cycle)

    def among(self, index: Index) -> Pool:
        """Give the pool in which only some of the unlabeled images are; the others take no part.

        Args:
            index: ``Long[n]`` dataset indices.

        Raises:
            ValueError: one is not unlabeled, or comes twice.
        """
        _checked(index, self.num_images, "index")
        if (wrong := index[self.cycle[index] != UNLABELED]).numel():
            raise ValueError(f"index must hold unlabeled images only, got {wrong[:5].tolist()}")
        cycle = torch.where(self.cycle == UNLABELED, EXCLUDED, self.cycle)
        cycle[index] = UNLABELED
        return Pool(cycle)

    def without(self, index: Index) -> Pool:
        """Give the pool in which some of the unlabeled images take no part; others of ``index`` stay as they are."""
        cycle = self.cycle.clone()
        cycle[index] = torch.where(cycle[index] == UNLABELED, EXCLUDED, cycle[index])
        return Pool(cycle)

    def save(self, path: Path) -> None:
        """Write a CSV that a person can read: the labeled (and excluded) images, by cycle, then by index."""
        noted = (self.cycle != UNLABELED).nonzero().flatten()
        noted = noted[torch.argsort(self.cycle[noted], stable=True)]
        with whole_file(path) as stream:
            stream.write(f"# num_images={self.num_images} num_labeled={self.num_labeled}\n")
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["index", "cycle"])
            writer.writerows(zip(noted.tolist(), self.cycle[noted].tolist(), strict=True))

    @classmethod
    def load(cls, path: Path) -> Pool:
        """Read what :meth:`save` wrote.

        Raises:
            DataError: the file is not a whole pool file.
        """
        with reading(path, "a pool (index,cycle under a num_images line)"):
            head, *rows = path.read_text(encoding="utf-8").splitlines()
            num_images = int(head.split("num_images=")[1].split()[0])
            num_labeled = int(head.split("num_labeled=")[1].split()[0])
            pairs = [(int(index), int(cycle)) for index, cycle in csv.reader(rows[1:])]
            index, value = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
            cycle = torch.full((max(num_images, 0),), UNLABELED, dtype=torch.long)
            cycle[_checked(index, num_images, "index")] = value
            pool = cls(cycle)
        if pool.num_labeled != num_labeled:
            raise DataError(f"{path} must list num_labeled={num_labeled} labeled images, lists {pool.num_labeled}")
        return pool


def _checked(index: Index, num_images: int, name: str) -> Index:
    if index.dtype != torch.long or index.ndim != 1:
        raise ValueError(f"{name} must be Long[n], got {index.dtype} of shape {list(index.shape)}")
    if (outside := index[(index < 0) | (index >= num_images)]).numel():
        raise ValueError(f"{name} must lie in [0, {num_images}), got {outside[:5].tolist()}")
    if index.unique().numel() != index.numel():
        values, counts = index.unique(return_counts=True)
        raise ValueError(f"{name} must not repeat an image, got {values[counts > 1][:5].tolist()} more than once")
    return index
