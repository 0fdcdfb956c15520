import os

import pytest
import torch
from hypothesis import settings

from alpl.acquisition import Context
from alpl.pool import Pool
from alpl.predictions import Form, Posterior, Predictions

collect_ignore_glob = ["benchmarks/*"]  # programs, with imports of their own

# A shared machine is slow at times, and a test that fails must fail again.
settings.register_profile("alpl", deadline=None, derandomize=True, database=None)
settings.load_profile("alpl")
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # also of the processes that tests start: two tests share two cores


@pytest.fixture(scope="session")
def context_of():
    """Make the context of a classifier's predictions; unlabeled image u has dataset index 2 u + 1."""

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
