"""Fashion-MNIST (Xiao et al., 2017): 60,000 train and 10,000 test images of 28 x 28 pixels, one channel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import final

from torch import Tensor
from torchvision import datasets
from torchvision.datasets.mnist import read_image_file, read_label_file

from alpl.data.sets import ImageSet, Splits
from alpl.data.source import AbstractDownloadedSource
from alpl.errors import DataError

SIDE = 28


@final
class FashionMNIST(AbstractDownloadedSource):
    """10 classes of clothing, as a small data set with one channel.

    ``root`` holds ``FashionMNIST/raw`` with the four unpacked idx files; see the base class for the arguments.
    """

    def _fetch(self) -> object:
        return datasets.FashionMNIST(str(self.root), download=True)

    def load(self) -> Splits:
        """Read both splits.

        Raises:
            DataError: a file is missing or broken, or images and labels do not belong together.
        """
        classes = tuple(datasets.FashionMNIST.classes)
        return Splits(self._split("train", len(classes)), self._split("t10k", len(classes)), classes)

    def _split(self, name: str, num_classes: int) -> ImageSet:
        folder = self.root / "FashionMNIST" / "raw"
        image_file, label_file = folder / f"{name}-images-idx3-ubyte", folder / f"{name}-labels-idx1-ubyte"
        images = self._read(image_file, read_image_file)
        targets = self._read(label_file, read_label_file)
        if len(images) == 0 or images.shape[1:] != (SIDE, SIDE):
            shape = list(images.shape)
            raise DataError(f"FashionMNIST: {image_file} must hold [N {SIDE} {SIDE}] pixels, got {shape}")
        if len(images) != len(targets):
            counts = f"{len(images)} images but {label_file} {len(targets)} labels"
            raise DataError(f"FashionMNIST: {image_file} holds {counts}")
        if (largest := int(targets.max())) >= num_classes:
            expected = f"labels 0 to {num_classes - 1}"
            raise DataError(f"FashionMNIST: {label_file} must hold {expected}, got {largest}")
        return ImageSet(images[:, None], targets)

    def _read(self, path: Path, reader: Callable[[str], Tensor]) -> Tensor:
        """Read one idx file, unchecked until now: torchvision knows the md5 sums of the archives only."""
        hint = "data.download=true would fetch it"
        if not path.is_file():
            raise DataError(f"FashionMNIST: {path} is missing (root={self.root}); {hint}")
        try:
            return reader(str(path))
        except (OSError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            fault = f"FashionMNIST: {path} is broken: {reason} (root={self.root})"
            raise DataError(f"{fault}; once it is deleted, {hint}") from error
