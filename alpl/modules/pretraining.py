"""How a backbone is pre-trained without labels, before any run begins that starts from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from alpl.data.augment import Transform
from alpl.errors import ConfigError
from alpl.modules.simsiam import SimSiam


@final
@dataclass(frozen=True)
class Pretraining:
    """A recipe; what computes it, the run's trainer says.

    Args:
        module: makes the module from ``in_channels``.
        augment: transforms of a view, in order; both views are drawn from them.
        batch_size: images of a step, of all processes together.
        epochs: passes over all images that take part, labeled or not.
        seed: of everything that is drawn.
        check_every: epochs between two looks at the accuracy of nearest neighbors; 0 for none.
        neighbors: that vote.
        rate_per: images of a step that the optimizer's learning rate is meant for: it is multiplied by
            ``batch_size / rate_per`` (Chen and He 2021, sec. 3). None for the rate as it is.

    Raises:
        ConfigError: a number is out of range.
    """

    module: Callable[..., SimSiam]
    augment: Sequence[Transform]
    batch_size: int
    epochs: int
    seed: int
    check_every: int = 10
    neighbors: int = 200
    rate_per: int | None = None  # a recipe of before has the rate of its own batches

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 2), ("epochs", 1), ("check_every", 0), ("neighbors", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"pretrained.{name} must be an int >= {least}, got {value!r}")
        per = self.rate_per
        if per is not None and (isinstance(per, bool) or not isinstance(per, int) or per < 1):
            raise ConfigError(f"pretrained.rate_per must be an int >= 1 or null, got {per!r}")

    @property
    def rate_factor(self) -> float:
        """What the optimizer's learning rate is multiplied by."""
        return 1.0 if self.rate_per is None else self.batch_size / self.rate_per

    def batch_of(self, num_processes: int) -> int:
        """Give the images of one process.

        Raises:
            ConfigError: the processes cannot have as many each, or would have one alone.
        """
        each, rest = divmod(self.batch_size, num_processes)
        if rest or each < 2:
            raise ConfigError(
                f"pretrained.batch_size must give each of the {num_processes} processes the same number of images, "
                f"2 or more, got {self.batch_size}"
            )
        return each
