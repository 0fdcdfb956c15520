"""Long-tailed variants of a balanced data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import final

import torch

from alpl.data.index_list import read_index_list
from alpl.data.sets import Splits
from alpl.data.source import AbstractSource
from alpl.errors import ConfigError
from alpl.labeling.schedule import Amount, balanced_draw, num_images_of
from alpl.machine.seeding import generator
from alpl.pool import Index

_TOLERANCE = 0.01  # of a list's factor: authors round, and their reserved set need not be balanced to the image


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
        kept_file: a list of all images that take part, the reserved ones last, in place of the draws; as the authors
            released theirs (``long_tailed_dataset_IF_3.txt``), with one index a line. ``{inverse}`` in it stands for
            1 / IF without its fraction, as in their names, so that one path serves all factors.

    Raises:
        ConfigError: ``factor`` lies outside (0, 1].
    """

    def __init__(
        self, source: AbstractSource, factor: float, reserved: Amount, seed: int, kept_file: str | None = None
    ) -> None:
        if not 0 < factor <= 1:
            raise ConfigError(f"factor must lie in (0, 1], got {factor}")
        self.source = source
        self.factor = factor
        self.reserved = reserved
        self.seed = seed
        self.kept_file = kept_file

    def prepare(self) -> None:
        """Prepare the wrapped source."""
        self.source.prepare()

    def load(self) -> Splits:
        """Load the wrapped source, reserve, thin out.

        Raises:
            DataError: the wrapped source cannot be read.
            ConfigError: the wrapped source reserves an initial set of its own, or is too small for this one; or
                ``kept_file`` is no list of its images, or one of another factor.
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
        if self.kept_file is None:
            chosen = balanced_draw(splits.train.targets[candidates], number, self.seed)
            reserved = candidates[chosen].sort().values
            dropped = self._dropped(splits, candidates[~torch.isin(candidates, reserved)])
        else:
            reserved, dropped = self._listed(splits, candidates, number)
        takes_part[dropped] = False
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

    def _listed(self, splits: Splits, candidates: Index, number: int) -> tuple[Index, Index]:
        """Give the reserved images, ascending, and the dropped ones, as ``kept_file`` has them."""
        assert self.kept_file is not None, "only called where there is a list"
        path = Path(self.kept_file.replace("{inverse}", str(int(1 / self.factor + 1e-9)))).expanduser()
        kept = read_index_list(path, candidates, "data.long_tail.kept_file")
        if len(kept) < number:
            raise ConfigError(
                f"data.long_tail.kept_file must end with {number} reserved images, {path} has {len(kept)}"
            )
        reserved = kept[len(kept) - number :].sort().values
        dropped = candidates[~torch.isin(candidates, kept)]
        rest = splits.train.targets[candidates[~torch.isin(candidates, reserved)]]
        num_classes = len(splits.classes)
        tail = int((rest >= num_classes - num_classes // 2).sum())
        share = 1 - len(dropped) / tail if tail else 1.0
        if abs(share - self.factor) > _TOLERANCE:
            raise ConfigError(
                f"data.long_tail.kept_file must keep {self.factor:.3g} of the tail (data.long_tail.factor), "
                f"{path} keeps {share:.3g}"
            )
        return reserved, dropped
