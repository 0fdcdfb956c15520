from functools import partial

import pytest
import torch
from torch.optim.lr_scheduler import MultiStepLR

from alpl.errors import ConfigError
from alpl.modules.warmup import PowerWarmup


def rates(make, steps, parts=1):
    """The rate of each step; the schedules are stored and loaded between parts."""
    found, state = [], None
    for _ in range(parts):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        schedules = [schedule(optimizer) for schedule in make]
        if state is not None:
            optimizer.load_state_dict(state[0])
            for schedule, stored in zip(schedules, state[1], strict=True):
                schedule.load_state_dict(stored)
        for _ in range(steps // parts):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            for schedule in schedules:
                schedule.step()
        state = optimizer.state_dict(), [schedule.state_dict() for schedule in schedules]
    return found


@pytest.mark.parametrize("parts", [1, 2, 6])
@pytest.mark.parametrize("power", [1.0, 4.0])
def test_the_rate_rises_with_the_power_and_is_multiplied_with_the_cuts(power, parts):
    warmup, cuts = partial(PowerWarmup, total_iters=5, power=power), partial(MultiStepLR, milestones=[8, 10], gamma=0.1)
    expected = [0.1 * min((step + 1) / 5, 1) ** power * 0.1 ** ((step >= 8) + (step >= 10)) for step in range(12)]
    assert rates([warmup, cuts], 12, parts) == pytest.approx(expected)


def test_one_step_is_no_warmup():
    assert rates([partial(PowerWarmup, total_iters=1, power=4.0)], 3) == [0.1] * 3


@pytest.mark.parametrize("bad", [{"total_iters": 0}, {"total_iters": 5, "power": 0.0}])
def test_arguments_that_cannot_work(bad):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(ConfigError, match=r"warmup\.total_iters must be >= 1 and power > 0"):
        PowerWarmup(optimizer, **bad)
