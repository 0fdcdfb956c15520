"""Learning rate schedules for the first steps of a training, to be multiplied with another schedule."""

from __future__ import annotations

import math
from typing import Any, final

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from alpl.errors import ConfigError


@final
class PowerWarmup(LRScheduler):
    r"""Raise the learning rate to its full value within the first steps.

    .. math:: f(t) = \Big( \frac{t + 1}{T} \Big)^p \quad \text{for } t < T, \text{ else } 1

    AL-MDN warms up for T = 1,000 steps, as released with p = 4. Like ``LinearLR``, it multiplies what it finds, so that
    the product with another such schedule is right.

    Args:
        optimizer: whose rates it changes.
        total_iters: T, at least 1.
        power: p, above 0.
        last_epoch: of a schedule that goes on; torch's convention.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(self, optimizer: Optimizer, total_iters: int, power: float = 1.0, last_epoch: int = -1) -> None:
        if total_iters < 1 or not power > 0:
            raise ConfigError(f"warmup.total_iters must be >= 1 and power > 0, got {total_iters} and {power}")
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """Give the rates of this step, from those of the last one."""
        ratio = self._factor(self.last_epoch) / (self._factor(self.last_epoch - 1) if self.last_epoch > 0 else 1.0)
        return [group["lr"] * ratio for group in self.optimizer.param_groups]

    def _factor(self, step: int) -> float:
        return math.pow(min((step + 1) / self.total_iters, 1.0), self.power)
