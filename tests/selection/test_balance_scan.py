"""The scan of the weight of class balance: against all choices, and the rule that names one weight."""

import math
from itertools import combinations, pairwise

import pytest
import torch

from alpl.errors import ConfigError
from alpl.selection.balance_scan import centered, l1_norm, ranked, sufficient_weight
from alpl.selection.balanced_kcenter import balanced_kcenter

WEIGHTS = (0.0, 0.2, 0.6, 1.5, 4.0)


def pool(number=10, num_classes=3, seed=0):
    random = torch.Generator().manual_seed(seed)
    probs = (3 * torch.randn(number, num_classes, generator=random)).double().softmax(-1)
    utility = -(probs * probs.log()).sum(1)
    return utility, probs, torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64)


def norm_by_hand(probs, targets, images):
    return sum(abs(float(targets[c]) - sum(float(probs[n, c]) for n in images)) for c in range(len(targets)))


@pytest.mark.parametrize("seed", [0, 1])
def test_each_weight_has_the_best_of_all_choices(seed):
    utility, probs, targets = pool(seed=seed)
    choose = ranked(utility, probs, targets, 3)
    for weight in WEIGHTS:
        found = choose(weight)
        costs = {
            images: weight * norm_by_hand(probs, targets, images) - sum(float(utility[n]) for n in images)
            for images in combinations(range(10), 3)
        }
        norm = l1_norm(probs, targets, found.index)
        assert norm == pytest.approx(norm_by_hand(probs, targets, found.index.tolist()))
        assert found.value == pytest.approx(sum(float(utility[n]) for n in found.index.tolist()))
        assert weight * norm - found.value == pytest.approx(min(costs.values()), abs=1e-9)
        assert found.gap == pytest.approx(0, abs=1e-9)


def test_a_larger_weight_never_has_a_larger_norm_nor_more_of_the_utility():
    """True of optima: of two weights each choice is the better one for its own."""
    utility, probs, targets = pool(60, seed=3)
    found = [ranked(utility, probs, 2 * targets, 6)(weight) for weight in WEIGHTS]
    norms, values = [l1_norm(probs, 2 * targets, one.index) for one in found], [one.value for one in found]
    for falling in (norms, values):
        assert all(later <= earlier + 1e-9 for earlier, later in pairwise(falling))
    assert norms[-1] < norms[0] and values[-1] < values[0]


def test_centers_are_those_of_algorithm_2():
    _, probs, targets = pool(30)
    features = torch.randn(30, 4, generator=torch.Generator().manual_seed(5))
    found = centered(features[:28], features[28:], probs[:28], targets, 3)(0.7)
    picks, distances = balanced_kcenter(features[:28], features[28:], probs[:28], targets, 0.7, 3)
    assert found.index.tolist() == picks.tolist() and found.value == float(distances.sum()) and found.gap is None


@pytest.mark.parametrize(
    ("norms", "weight"),
    [
        ([5.0, 4.0, 3.0], 2.0),  # it falls to the end
        ([5.0, 3.0, 3.0], 1.0),
        ([3.0, 3.0, 3.0], 0.0),
        ([5.0, 3.02, 3.0], 1.0),  # by less than 1 %
        ([5.0, 3.04, 3.0], 2.0),  # by more
        ([2.9, 3.5, 3.0], 0.0),  # the smallest was there already
        ([5.0, 0.0, 0.0], 1.0),
        ([3.02, 3.04, 3.0], 0.0),
    ],
)
def test_the_smallest_weight_after_which_the_norm_falls_no_more(norms, weight):
    assert sufficient_weight([0.0, 1.0, 2.0], norms) == weight


@pytest.mark.parametrize("weights", [[], [1.0, 1.0], [1.0, 0.5], [math.nan, math.nan]])
def test_weights_that_do_not_ascend_are_refused(weights):
    with pytest.raises(ConfigError, match="weights must be at least one and ascend, got"):
        sufficient_weight(weights, [1.0] * len(weights))
