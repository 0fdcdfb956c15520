import pytest
import torch

from alpl.acquisition import Oracle
from alpl.predictions import Need

PROBS = torch.eye(3)[[0, 1, 2, 0, 1, 2]] * 0.7 + 0.1
TARGETS = torch.tensor([0, 2, 2, 1, 1, 0])  # wrong on images 1, 3 and 5 of the unlabeled


def test_misclassified_images_come_first(context_of):
    assert Need.TARGETS in Oracle().needs and Need.POSTERIOR in Oracle().needs
    query = Oracle().select(context_of(PROBS, budget=5, targets=TARGETS))
    assert set(query.index[:3].tolist()) == {3, 7, 11}
    assert query.utility.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]
    assert query.pool_utility.tolist() == [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]


def test_among_them_the_seed_decides(context_of):
    def pick(seed):
        return int(Oracle().select(context_of(PROBS, budget=1, seed=seed, targets=TARGETS)).index)

    assert {pick(seed) for seed in range(40)} == {3, 7, 11}
    assert pick(7) == pick(7)


def test_without_answers_it_says_what_it_needs(context_of):
    with pytest.raises(AssertionError, match=r"Need\.TARGETS was declared"):
        Oracle().select(context_of(PROBS))
