"""Long-tailed variants of a balanced data set."""

from __future__ import annotations

from dataclasses import replace
from typing import final

import torch

from alpl.data.sets import Splits
from alpl.data.source import AbstractSource
from alpl.errors import ConfigError
from alpl.labeling.schedule import Amount, balanced_draw, num_images_of
from alpl.machine.seeding import generator
from alpl.pool import Index


@final
class StepImbalance(AbstractSource):
    """Thins out the last half of the classes, as the thesis does in chapter 4 ("step" imbalance).

    With C classes, the first C - C // 2 stay as they are and the last C // 2 are the tail (for an odd C the
    class in the middle is therefore no tail class). First a class-balanced initial set is reserved, whole; of
    what is left of a tail class, ``factor`` is kept, rounded to the nearest image, halves up. So CIFAR-10 and
    5,000 reserved images has 34,250 images that take part at factor 0.3, and 29,750 at 0.1: the sizes of the
    index files that the authors released. Test images stay as they are.

    Dropped images are listed in ``Splits.excluded``; nothing is renumbered. With the same seed the reserved
    set is the same for every factor, and what a smaller factor keeps, a larger one keeps too.

    Args:
        source: the data set to thin out.
        factor: the imbalance factor IF, in (0, 1]; 1 drops nothing.
        reserved: size of the reserved initial set, see :func:`alpl.labeling.schedule.num_images_of`.
        seed: the draws' own seed, so that all acquisitions of a table see the same data set.

    Raises:
        ConfigError: ``factor`` lies outside (0, 1].
    """

    def __init__(self, source: AbstractSource, factor: float, reserved: Amount, seed: int) -> None:
        if not 0 < factor <= 1:
            raise ConfigError(f"factor must lie in (0, 1], got {factor}")
        self.source = source
        self.factor = factor
        self.reserved = reserved
        self.seed = seed

    def prepare(self) -> None:
        """Prepare the wrapped source."""
        self.source.prepare()

    def load(self) -> Splits:
        """Load the wrapped source, reserve, thin out.

        Raises:
            DataError: the wrapped source cannot be read.
            ConfigError: the wrapped source reserves an initial set of its own, or is too small for this one.
        """
        splits = self.source.load()
        if splits.reserved is not None:
            name = type(self.source).__name__
            raise ConfigError(f"source must be a data set that reserves no initial set itself, got {name}")
        takes_part = torch.ones(len(splits.train), dtype=torch.bool)
        if splits.excluded is not None:
            takes_part[splits.excluded] = False
        candidates = takes_part.nonzero().flatten()
        number = num_images_of(self.reserved, len(candidates), "reserved")
        chosen = balanced_draw(splits.train.targets[candidates], number, self.seed)
        reserved = candidates[chosen].sort().values
        takes_part[self._dropped(splits, candidates[~torch.isin(candidates, reserved)])] = False
        return replace(splits, excluded=(~takes_part).nonzero().flatten(), reserved=reserved)

    def _dropped(self, splits: Splits, rest: Index) -> Index:
        """Choose what to drop among ``rest`` (``Long[P]``, all that is not reserved)."""
        num_classes = len(splits.classes)
        targets = splits.train.targets[rest]
        dropped = [rest[:0]]
        for label in range(num_classes - num_classes // 2, num_classes):
            members = rest[targets == label]
            kept = int(len(members) * self.factor + 0.5 + 1e-9)  # 0.29 * 100 is 28.999999999999996
            order = torch.randperm(len(members), generator=generator(self.seed, "long_tail", label))
            dropped.append(members[order[kept:]])
        return torch.cat(dropped)
