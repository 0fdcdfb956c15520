"""Detection data sets: images of any size, and the objects on them.

Axes: N images, n objects of one image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final, overload

import torch
from torch import Tensor

from alpl.boxes.footage import Footage
from alpl.pool import Index

NO_CLASS = -1
"""The label of a region that is to be ignored whatever is found there (KITTI's DontCare). It is always difficult: no
target of a training, no object that a test asks for. Most data sets have none."""

LEAST_EXTENT = 0.1
"""Pixels of the network's input that an object is wide and high at least; COCO's of one pixel are, in 300 of 640."""


@dataclass(frozen=True, eq=False)
class Objects:
    """The annotated objects of one image.

    Args:
        boxes: ``Float32[n 4]`` xyxy, absolute pixels, 0-based; x2 and y2 are one past the last pixel, so that the width
            is x2 - x1.
        labels: ``Long[n]``, 0 is the first foreground class; :data:`NO_CLASS` of regions to be ignored.
        difficult: ``Bool[n]``, VOC's mark (COCO's crowd): left out of training, neither right nor wrong in evaluation.
        level: ``UInt8[n]``, how hard they are to see (:data:`alpl.boxes.kitti_levels.LEVELS`); None where all are of
            level 0, as in all data sets but KITTI. Test objects alone keep it: no training asks for it.

    Raises:
        ValueError: the shapes or types are not these.
    """

    boxes: Tensor
    labels: Tensor
    difficult: Tensor
    level: Tensor | None = None

    def __post_init__(self) -> None:
        number = len(self.labels)
        if self.boxes.dtype != torch.float32 or self.boxes.shape != (number, 4):
            raise ValueError(f"boxes must be Float32[{number} 4], got {self.boxes.dtype} {list(self.boxes.shape)}")
        if self.labels.dtype != torch.long or self.labels.ndim != 1:
            raise ValueError(f"labels must be Long[n], got {self.labels.dtype} {list(self.labels.shape)}")
        if self.difficult.dtype != torch.bool or self.difficult.shape != (number,):
            raise ValueError(
                f"difficult must be Bool[{number}], got {self.difficult.dtype} {list(self.difficult.shape)}"
            )
        if self.level is not None and (self.level.dtype != torch.uint8 or self.level.shape != (number,)):
            raise ValueError(f"level must be UInt8[{number}], got {self.level.dtype} {list(self.level.shape)}")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Tensor | slice) -> Objects:
        level = None if self.level is None else self.level[chosen]
        return Objects(self.boxes[chosen], self.labels[chosen], self.difficult[chosen], level)

    @property
    def levels(self) -> Tensor:
        """``UInt8[n]``: the level of each, 0 where there are none."""
        return torch.zeros_like(self.labels, dtype=torch.uint8) if self.level is None else self.level

    @property
    def extended(self) -> Tensor:
        """``Bool[n]``: whose boxes are at least :data:`LEAST_EXTENT` wide and high; where a side is NaN, they are not.

        Losses of boxes are of the logarithms of their sides, or of their quotients: without extent they are infinite.
        """
        return (self.boxes[:, 2:] - self.boxes[:, :2] >= LEAST_EXTENT).all(1)

    @classmethod
    def none(cls) -> Objects:
        """No object."""
        return cls(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.bool))


@final
class ObjectTable(Sequence[Objects]):
    """The objects of N images in flat tensors: a large data set does not become a million small ones.

    Args:
        objects: I objects of all images, those of an image beside each other.
        counts: ``Long[N]`` how many of them each image has.

    Raises:
        ValueError: the counts do not add up to I.

    >>> table = ObjectTable(Objects.none(), torch.zeros(3, dtype=torch.long))
    >>> len(table), len(table[-1]), len(table[1:])
    (3, 0, 2)
    """

    def __init__(self, objects: Objects, counts: Tensor) -> None:
        if int(counts.sum()) != len(objects):
            raise ValueError(f"counts must add up to {len(objects)} objects, got {int(counts.sum())}")
        self.objects = objects
        self.counts = counts
        self._ends = torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> Objects: ...

    @overload
    def __getitem__(self, index: slice) -> list[Objects]: ...

    def __getitem__(self, index: int | slice) -> Objects | list[Objects]:
        if isinstance(index, slice):
            return [self[position] for position in range(len(self))[index]]
        position = range(len(self))[index]  # an IndexError ends iteration
        return self.objects[int(self._ends[position]) : int(self._ends[position + 1])]


class AbstractDetectionImages(ABC):
    """N images that are read one by one; reading is safe in worker processes.

    Args:
        names: N file names (or other names that a person recognizes), for messages and galleries.
        sizes: ``Long[N 2]`` height and width of each image.
    """

    names: tuple[str, ...]
    sizes: Tensor

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def __getitem__(self, index: int) -> Tensor:
        """``UInt8[3 H W]``, RGB."""


@dataclass(frozen=True, eq=False)
class DetectionSplits:
    """What a detection data set gives to the data module.

    Args:
        train: the images that the pool is made of; their position is the dataset index, once and for all.
        train_objects: N, one :class:`Objects` an image.
        test: held-out images.
        test_objects: one an image.
        classes: the names of the K foreground classes.
        excluded: ``Long[X]`` dataset indices that take no part (skipped for bad annotations, or cleaned away).
        annotated: ``Long[A]`` dataset indices of training images that have annotations; None for all.
        footage: which training image is which frame of which video; None where they are no videos.
    """

    train: AbstractDetectionImages
    train_objects: Sequence[Objects]
    test: AbstractDetectionImages
    test_objects: Sequence[Objects]
    classes: tuple[str, ...]
    excluded: Index | None = None
    annotated: Index | None = None
    footage: Footage | None = None


class AbstractDetectionSource(ABC):
    """Gives the train and test images of a detection data set."""

    @abstractmethod
    def load(self) -> DetectionSplits:
        """Read and check all annotations; never touches the network.

        Raises:
            DataError: a file is missing, or annotations are bad and are not to be skipped; names them.
        """

    def prepare(self) -> None:  # noqa: B027  (concrete on purpose: most sources have nothing to prepare)
        """Download what :meth:`load` reads, where that was asked for; called on one process only."""
