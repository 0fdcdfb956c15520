"""The handwritten digits that scikit-learn ships: nothing to download, a cycle takes seconds."""

from __future__ import annotations

from typing import final

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from alpl.data.sets import ImageSet, Splits
from alpl.data.source import AbstractSource
from alpl.errors import ConfigError
from alpl.machine.seeding import generator

BRIGHTEST = 16  # the set counts the dark pixels of 4 x 4 blocks: 0 to 16
NUM_CLASSES = 10


@final
class Digits(AbstractSource):
    """1797 images of 8 x 8 pixels, one channel, 10 classes (Alpaydin and Kaynak, 1998, UCI).

    The data set comes without a test split, so we draw one: the same fraction of each class.

    Args:
        test_fraction: share of every class that is held out, rounded to the nearest image.
        seed: the draw's own seed. It is not the run's: all runs are tested on the same images.

    Raises:
        ConfigError: ``test_fraction`` lies outside (0, 1).

    >>> splits = Digits().load()
    >>> list(splits.train.images.shape), len(splits.test)
    ([1198, 1, 8, 8], 599)
    """

    def __init__(self, test_fraction: float = 1 / 3, seed: int = 0) -> None:
        if not 0 < test_fraction < 1:
            raise ConfigError(f"test_fraction must lie in (0, 1), got {test_fraction}")
        self.test_fraction = test_fraction
        self.seed = seed

    def load(self) -> Splits:
        """Give the train and test images, each in the order of the data set."""
        values, labels = load_digits(return_X_y=True)
        images = torch.from_numpy(values).view(-1, 1, 8, 8).mul(255 / BRIGHTEST).round().to(torch.uint8)
        targets = torch.from_numpy(labels).long()
        held_out = self._held_out(targets)
        return Splits(
            ImageSet(images[~held_out], targets[~held_out]),
            ImageSet(images[held_out], targets[held_out]),
            tuple(str(digit) for digit in range(NUM_CLASSES)),
        )

    def _held_out(self, targets: Tensor) -> Tensor:
        """``Bool[N]``: True for the test images."""
        held_out = torch.zeros(len(targets), dtype=torch.bool)
        random = generator(self.seed, "digits")
        for label in range(NUM_CLASSES):
            members = (targets == label).nonzero().flatten()
            number = round(len(members) * self.test_fraction)
            held_out[members[torch.randperm(len(members), generator=random)[:number]]] = True
        return held_out
