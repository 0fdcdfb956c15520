import re

import pytest
import torch

from alpl.acquisition import Context, KCenter
from alpl.pool import Pool
from alpl.predictions import Need, Predictions


def _context(features, labeled, budget):
    """Unlabeled image u has dataset index L + u."""
    pool = Pool.create(len(features) + len(labeled), torch.arange(len(labeled)))

    def observed(index, values):
        values = torch.tensor(values, dtype=torch.float32).reshape(len(values), -1)
        return Predictions(index, torch.arange(len(index)), image_features=values)

    return Context(
        pool, budget, seed=0, unlabeled=observed(pool.unlabeled, features), labeled=observed(pool.labeled, labeled)
    )


def test_the_farthest_image_comes_first():
    assert KCenter().needs == Need.IMAGE_FEATURES | Need.LABELED
    query = KCenter().select(_context([[1.0], [5.0], [-9.0], [4.0]], [[0.0], [2.0]], 3))
    # to the nearest labeled or chosen image: 9 (image 2), then 3 (image 1), then 1 (images 0 and 3: the first)
    assert query.index.tolist() == [4, 3, 2] and query.utility.tolist() == [9.0, 3.0, 1.0]
    assert query.utility.dtype == torch.float64 and query.pool_utility is None


def test_labeled_images_are_centers():
    features = [[0.0], [10.0]]
    assert KCenter().select(_context(features, [[1.0]], 1)).index.tolist() == [2]
    assert KCenter().select(_context(features, [[9.0]], 1)).index.tolist() == [1]


def test_it_draws_nothing():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    KCenter().select(_context([[0.0]] * 6, [[0.0]], 4))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_budget_that_exceeds_the_pool_is_an_error():
    with pytest.raises(ValueError, match=re.escape("budget must be in [0, 2] candidates, got 3")):
        KCenter().select(_context([[0.0], [1.0]], [[0.0]], 3))


def test_features_that_are_not_finite_are_errors():
    with pytest.raises(ValueError, match="must be finite"):
        KCenter().select(_context([[0.0], [float("nan")]], [[0.0]], 1))
