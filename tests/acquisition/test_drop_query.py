import re

import pytest
import torch

from alpl.acquisition import Context, DropQuery
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Posterior, Predictions


def _context(says, views, features, budget, seed=0):
    """Images of which the network says one class each, and each view another."""
    number = len(says)
    pool = Pool.create(2 * number + 1, torch.arange(0, 2 * number + 1, 2))
    sure = 0.9 * torch.eye(3) + 0.1 / 3
    seen = Predictions(
        pool.unlabeled,
        torch.arange(number),
        Posterior(sure[torch.tensor(says)]),
        views=Posterior(sure[torch.tensor(views)]),
        image_features=torch.tensor(features),
    )
    return Context(pool, budget, seed, unlabeled=seen)


def test_by_hand_who_changes_in_more_than_half_of_the_passes_and_lies_in_the_middle():
    # 0, 1, 2 in one heap change in two or three of three passes, 4 and 5 in another; 3 in one pass only, 6 never
    says = [0, 0, 0, 0, 1, 1, 2]
    views = [[1, 1, 1, 1, 1, 2, 2], [1, 2, 1, 0, 0, 0, 2], [0, 1, 1, 0, 2, 0, 2]]
    features = [[0.0], [1.0], [2.0], [1.0], [50.0], [50.5], [25.0]]
    query = DropQuery().select(_context(says, views, features, 2))
    assert 3 in query.index.tolist() and set(query.index.tolist()) <= {3, 9, 11}
    assert query.pool_utility.tolist() == pytest.approx([2 / 3, 1, 1, 1 / 3, 2 / 3, 1, 0])


def test_where_too_few_change_the_next_join():
    says, features = [0] * 5, [[float(k)] for k in range(5)]
    views = [[0, 1, 0, 1, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]]
    query = DropQuery().select(_context(says, views, features, 3))
    assert sorted(query.index.tolist()) == [1, 3, 7]  # 2 of 3, 1 of 3, then the first of the rest
    assert sorted(DropQuery(share=0.0).select(_context(says, views, features, 2)).index.tolist()) == [3, 7]


@pytest.mark.parametrize("budget", [0, 1, 5])
def test_any_budget_and_the_same_seed(budget):
    context = _context([0] * 5, [[0, 1, 0, 1, 2]] * 3, [[float(k)] for k in range(5)], budget, seed=4)
    query, again = (DropQuery().select(context) for _ in range(2))
    assert len(set(query.index.tolist())) == budget and torch.equal(query.index, again.index)


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match=re.escape("acquisition.share must be in [0, 1), got 1.0")):
        DropQuery(share=1.0)
    with pytest.raises(ConfigError, match=re.escape("acquisition.iterations must be >= 1, got 0")):
        DropQuery(iterations=0)
    with pytest.raises(ValueError, match=re.escape("budget must be in [0, 1] images, got 2")):
        DropQuery().select(_context([0], [[1]], [[0.0]], 2))
