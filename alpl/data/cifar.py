"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): 50,000 train and 10,000 test images of 32 x 32 pixels."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from alpl.data.sets import ImageSet, Splits
from alpl.data.source import AbstractDownloadedSource
from alpl.errors import DataError


class AbstractCIFAR(AbstractDownloadedSource):
    """What both sets share: torchvision's class downloads, checks every md5 and unpickles.

    ``root`` holds ``cifar-10-batches-py`` or ``cifar-100-python``; see the base class for the arguments.
    """

    published: ClassVar[type[datasets.CIFAR10]]
    """The torchvision data set; it knows the file names and the md5 sums."""

    def _fetch(self) -> object:
        return self.published(self.root, download=True)

    def load(self) -> Splits:
        """Read both splits.

        Raises:
            DataError: a file is missing, or is not the published one. No such file is ever unpickled.
        """
        try:
            train, test = (self.published(self.root, train=is_train) for is_train in (True, False))
        except (RuntimeError, OSError) as error:
            fault = f"{type(self).__name__}: {self._fault() or error} (root={self.root})"
            raise DataError(f"{fault}; data.download=true would fetch it") from error
        return Splits(_image_set(train), _image_set(test), tuple(train.classes))

    def _fault(self) -> str | None:
        """Name the first file that is missing or not the published one."""
        folder = self.root / self.published.base_folder
        if not folder.is_dir():
            return f"there is no folder {folder}"
        files = [*self.published.train_list, *self.published.test_list]
        for name, md5 in [*files, [self.published.meta["filename"], self.published.meta["md5"]]]:
            if not (folder / name).is_file():
                return f"{folder / name} is missing"
            if not check_integrity(folder / name, md5):
                return f"{folder / name} is broken: its md5 sum is not the published one"
        return None


@final
class CIFAR10(AbstractCIFAR):
    """CIFAR-10: 10 classes. See :class:`AbstractCIFAR` for the arguments."""

    published = datasets.CIFAR10


@final
class CIFAR100(AbstractCIFAR):
    """CIFAR-100: its 100 fine classes. See :class:`AbstractCIFAR` for the arguments."""

    published = datasets.CIFAR100


def _image_set(dataset: datasets.CIFAR10) -> ImageSet:
    images = torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous()  # torchvision holds N H W C
    return ImageSet(images, torch.tensor(dataset.targets, dtype=torch.long))
