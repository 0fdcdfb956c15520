from functools import partial

import pytest
import torch
from torch.optim.lr_scheduler import LinearLR, MultiStepLR

from alpl.modules.base import AbstractTrainableModule


class Module(AbstractTrainableModule):
    """As little as can be trained."""

    provides = None

    def __init__(self, **options):
        super().__init__(optimizer=partial(torch.optim.SGD, lr=0.1), **options)
        self.layer = torch.nn.Linear(1, 1)

    @classmethod
    def ensemble(cls, members):
        return members[0]

    def predict_batch(self, batch, needs):
        raise NotImplementedError

    def test_results(self):
        return {}


def rates(epochs=3, steps=4, **options):
    """The learning rate of every step, as Lightning steps the schedules."""
    (optimizer,), schedules = Module(**options).configure_optimizers()
    found = []
    for _ in range(epochs):
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            [each["scheduler"].step() for each in schedules if each["interval"] == "step"]
        [each["scheduler"].step() for each in schedules if each["interval"] == "epoch"]
    return found


WARMUP = partial(LinearLR, start_factor=0.1, total_iters=6)
CUT = partial(MultiStepLR, milestones=[1, 2], gamma=0.5)


def test_the_rate_is_the_product_of_warm_up_and_schedule():
    warm = [0.1 + 0.9 * min(step, 6) / 6 for step in range(12)]
    cut = [0.5 ** (step // 4) for step in range(12)]
    assert rates(warmup=WARMUP, scheduler=CUT) == pytest.approx([0.1 * a * b for a, b in zip(warm, cut, strict=True)])
    assert rates(warmup=WARMUP) == pytest.approx([0.1 * a for a in warm])
    assert rates(scheduler=CUT) == pytest.approx([0.1 * b for b in cut])
    assert rates() == [0.1] * 12
    by_step = rates(scheduler=CUT, scheduler_interval="step")
    assert by_step == pytest.approx([0.1, 0.05] + [0.025] * 10)
