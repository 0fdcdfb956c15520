"""Detection data sets: images of any size, and the objects on them.

Axes: N images, n objects of one image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from alpl.pool import Index


@dataclass(frozen=True, eq=False)
class Objects:
    """The annotated objects of one image.

    Args:
        boxes: ``Float32[n 4]`` xyxy, absolute pixels, 0-based; x2 and y2 are one past the last pixel, so that the width
            is x2 - x1.
        labels: ``Long[n]``, 0 is the first foreground class.
        difficult: ``Bool[n]``, VOC's mark (COCO's crowd): left out of training, neither right nor wrong in evaluation.

    Raises:
        ValueError: the shapes or types are not these.
    """

    boxes: Tensor
    labels: Tensor
    difficult: Tensor

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

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Tensor) -> Objects:
        return Objects(self.boxes[chosen], self.labels[chosen], self.difficult[chosen])

    @classmethod
    def none(cls) -> Objects:
        """No object."""
        return cls(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.bool))


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
        excluded: ``Long[X]`` dataset indices that take no part (skipped for bad annotations).
    """

    train: AbstractDetectionImages
    train_objects: tuple[Objects, ...]
    test: AbstractDetectionImages
    test_objects: tuple[Objects, ...]
    classes: tuple[str, ...]
    excluded: Index | None = None


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
