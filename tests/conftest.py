import os
from collections import Counter

import pytest
from hypothesis import settings

collect_ignore_glob = ["benchmarks/*"]  # programs, with imports of their own

# The files whose slow tests take longest, the longest first: a process that began one last would leave others idle.
LONGEST = (
    "test_almdn.py", "test_experiments.py", "test_interruption.py", "test_detection_runs.py", "test_slurm.py",
    "test_elezi.py", "test_killed.py", "test_kcenter.py", "test_class_balance.py", "test_core_set.py",
    "test_soft_teacher_runs.py", "test_foreign.py", "test_ddp.py", "test_two_processes.py", "test_tables.py",
)  # fmt: skip

# A shared machine is slow at times, and a test that fails must fail again.
settings.register_profile("alpl", deadline=None, derandomize=True, database=None)
settings.load_profile("alpl")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # also in the processes that tests start: two tests share two cores


@pytest.hookimpl(tryfirst=True)  # before those that are not asked for go
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what is not in a ``sample`` to the slow part, and begin with the longest files' slow tests.

    And keep torch to one thread in the processes that run tests; the one that hands them out needs no torch.
    """
    import torch

    torch.set_num_threads(1)
    cases: Counter[str] = Counter()
    for item in items:
        sample = item.get_closest_marker("sample")
        if sample is not None and "slow" not in item.keywords:
            name = item.nodeid.split("[")[0]
            cases[name] += 1
            if cases[name] > sample.args[0]:
                item.add_marker(pytest.mark.slow)
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)) if "slow" in item.keywords else len(place))


@pytest.fixture(scope="session")
def context_of():
    """Make the context of a classifier's predictions; unlabeled image u has dataset index 2 u + 1."""
    import torch

    from alpl.acquisition import Context
    from alpl.pool import Pool
    from alpl.predictions import Form, Posterior, Predictions

    def make(probs=None, *, number=None, budget=1, seed=0, form=Form.SOFTMAX, views=None, **fields):
        number = len(probs) if number is None else number
        pool = Pool.create(2 * number + 1, torch.arange(0, 2 * number + 1, 2))
        unlabeled = Predictions(
            index=pool.unlabeled,
            row=torch.arange(number),
            posterior=None if probs is None else Posterior(torch.as_tensor(probs), form),
            views=None if views is None else Posterior(torch.as_tensor(views), form),
        )
        return Context(pool, budget, seed, unlabeled=unlabeled, **fields)

    return make
