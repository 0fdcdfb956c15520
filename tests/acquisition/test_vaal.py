"""VAAL asks for what looks least labeled, alone and with balanced classes."""

from itertools import combinations

import pytest
import torch
from rehearsals import rehearse

from alpl.acquisition import ClassBalanced, Context, Vaal
from alpl.pool import Pool
from alpl.predictions import Need, Posterior, Predictions


def context(labeledness, budget, probs=None, counts=None):
    number = len(labeledness)
    pool = Pool.create(number + 1, torch.tensor([0]))
    posterior = None if probs is None else Posterior(probs)
    seen = Predictions(pool.unlabeled, torch.arange(number), posterior, labeledness=torch.tensor(labeledness))
    return Context(pool, budget, 0, unlabeled=seen, class_counts=counts)


def test_the_least_labeled_looking_are_chosen():
    query = Vaal().select(context([0.9, 0.1, 0.5, 0.3], 2))
    assert query.index.tolist() == [2, 4]
    torch.testing.assert_close(query.utility, torch.tensor([0.9, 0.7], dtype=torch.float64))


def test_what_hardly_looks_labeled_is_told_apart():
    """In float32, 1 less either of these is 1."""
    query = Vaal().select(context([1e-9, 2e-9, 1e-10], 1))
    assert query.index.tolist() == [3]


def test_ties_are_drawn():
    picks = {
        tuple(Vaal().select(Context(given.pool, 2, seed, unlabeled=given.unlabeled)).index.tolist())
        for seed in range(20)
        for given in [context([0.5] * 5, 2)]
    }
    assert len(picks) > 3


@pytest.mark.parametrize("weight", [0.0, 0.4, 5.0])
def test_class_balance_minimizes_equation_4_9(weight):
    """Against all choices: z^T u + lambda ||Omega - P^T z||_1, with Omega of Eq. 4.4."""
    torch.manual_seed(3)
    labeledness, probs = torch.rand(8).tolist(), (3 * torch.randn(8, 3)).softmax(-1).double()
    counts, budget = torch.tensor([1, 0, 0]), 3
    lacking = [max((budget + 1) / 3 - int(count), 0) for count in counts]

    def objective(chosen):
        sums = [sum(float(probs[i, k]) for i in chosen) for k in range(3)]
        return sum(labeledness[i] for i in chosen) + weight * sum(
            abs(want - got) for want, got in zip(lacking, sums, strict=True)
        )

    query = ClassBalanced(Vaal(), weight).select(context(labeledness, budget, probs, counts))
    best = min(objective(chosen) for chosen in combinations(range(8), budget))
    assert objective((query.index - 1).tolist()) == pytest.approx(best, abs=1e-6)


def test_they_pass_the_rehearsal():
    rehearse(Vaal(), Need.NOTHING, num_classes=3)
    rehearse(ClassBalanced(Vaal()), Need.POSTERIOR, num_classes=3)
    assert ClassBalanced(Vaal()).needs == Need.LABELEDNESS | Need.POSTERIOR | Need.CLASS_COUNTS
