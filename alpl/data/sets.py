"""Image sets that are small enough to stay in memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from alpl.pool import Index


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one size with their classes.

    Args:
        images: ``UInt8[N C H W]``.
        targets: ``Long[N]``, 0 is the first class.

    Raises:
        ValueError: the shapes or types are not these.
    """

    images: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(f"images must be UInt8[N C H W], got {self.images.dtype} {list(self.images.shape)}")
        if self.targets.dtype != torch.long or self.targets.shape != (len(self.images),):
            raise ValueError(
                f"targets must be Long[{len(self.images)}], got {self.targets.dtype} {list(self.targets.shape)}"
            )

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class Splits:
    """What a data set gives to the data module.

    Args:
        train: the images that the pool is made of; their position is the dataset index, once and for all.
        test: held-out images.
        classes: the names of the K classes.
        excluded: ``Long[X]`` dataset indices that take no part (a long-tailed variant dropped them).
        reserved: ``Long[R]`` dataset indices of an initial set that the data set prescribes.
        annotated: ``Long[A]`` dataset indices of training images that have labels; None for all.
        files: N files of the training images; empty where they have none of their own.
    """

    train: ImageSet
    test: ImageSet
    classes: tuple[str, ...]
    excluded: Index | None = None
    reserved: Index | None = None
    annotated: Index | None = None
    files: tuple[str, ...] = ()
