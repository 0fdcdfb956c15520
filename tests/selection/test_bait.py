import re

import pytest
import torch

from alpl.acquisition import Bait, Context
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Form, Posterior, Predictions
from alpl.selection import bait


def _fisher(features, probs):
    """Ash et al. 2021: diag(p) - p p^T, times the features' outer product."""
    p, h = probs.double(), features.double()
    return torch.kron(torch.diag(p) - torch.outer(p, p), torch.outer(h, h))


def reference(features, probs, known, known_probs, budget, strength=1.0, oversample=2, released=False):
    """Algorithm 1 with every matrix formed and inverted."""
    own = [_fisher(h, p) for h, p in zip(features, probs, strict=True)]
    total = sum(own) / len(own)
    labeled = [_fisher(h, p) for h, p in zip(known, known_probs, strict=True)]
    number = len(labeled) + budget
    base = strength * torch.eye(len(total), dtype=torch.float64)
    for each in labeled:
        base = base + each / (number if released else 1)
    if released:
        own = [each * budget / number for each in own]

    def trace(chosen):
        return float(torch.trace(torch.linalg.inv(base + sum(own[i] for i in chosen)) @ total))

    chosen = []
    for _ in range(min(oversample * budget, len(own))):
        left = [i for i in range(len(own)) if i not in chosen]
        chosen.append(min(left, key=lambda i: trace([*chosen, i])))
    while len(chosen) > budget:
        chosen.remove(min(chosen, key=lambda i: trace([j for j in chosen if j != i])))
    return chosen


def _made(number, classes=3, width=2, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(number, width, generator=random), (2 * torch.randn(number, classes, generator=random)).softmax(1)


@pytest.mark.parametrize("weights", ["sum", "as_released"])
@pytest.mark.parametrize(("num_labeled", "budget", "strength"), [(0, 3, 1.0), (4, 4, 0.1), (2, 9, 0.01)])
def test_the_picks_are_those_of_the_loop_that_inverts(num_labeled, budget, strength, weights):
    here, there = _made(14, seed=budget), _made(num_labeled, seed=1)
    picks, gains = bait(*here, *there, budget, regularization=strength, weights=weights)
    assert picks.tolist() == reference(*here, *there, budget, strength, released=weights == "as_released")
    assert (gains > 0).all()


def test_the_gain_is_by_how_much_the_trace_falls():
    here, there = _made(6), _made(2, seed=1)
    picks, gains = bait(*here, *there, 1, oversample=1)
    total = sum(_fisher(h, p) for h, p in zip(*here, strict=True)) / 6
    base = torch.eye(6, dtype=torch.float64) + sum(_fisher(h, p) for h, p in zip(*there, strict=True))
    after = base + _fisher(here[0][picks[0]], here[1][picks[0]])
    assert float(gains[0]) == pytest.approx(float(torch.trace((base.inverse() - after.inverse()) @ total)))


def test_by_hand_one_feature_and_two_classes():
    # p (1 - p) h^2 decides: 0.25 of the first, 0.09 of the second, 0.24 of the third
    features, probs = torch.ones(3, 1), torch.tensor([[0.5, 0.5], [0.9, 0.1], [0.4, 0.6]])
    picks, _ = bait(features, probs, torch.empty(0, 1), torch.empty(0, 2), 2, oversample=1)
    assert picks.tolist() == [0, 2]


def test_equal_images_are_picked_in_order_and_who_is_sure_adds_nothing():
    features, probs = torch.ones(4, 1), torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5], [1.0, 0.0]])
    picks, gains = bait(features, probs, torch.empty(0, 1), torch.empty(0, 2), 4)
    assert picks.tolist() == [1, 2, 0, 3] and gains[2:].tolist() == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": 4}, "budget must be in [0, 3] candidates, got 4"),
        ({"probs": torch.ones(2, 2)}, "features and probs must be [n F] and [n C], got [3, 2] and [2, 2]"),
        ({"labeled_probs": torch.ones(1, 3)}, "labeled_probs must have 2 classes, got 3"),
        ({"labeled_features": torch.ones(1, 5)}, "features and centers must be [U F] and [L F]"),
        ({"regularization": 0.0}, "regularization must be finite and > 0 and oversample finite and >= 1, got 0.0 and"),
        ({"weights": "mean"}, "weights must be one of sum, as_released, got 'mean'"),
        ({"memory_limit": 100}, "memory_limit must be at least 800 bytes for 3 candidates, 2 features and 2 classes"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    given = {"features": torch.rand(3, 2), "probs": torch.full((3, 2), 0.5), "budget": 1}
    given |= {"labeled_features": torch.rand(1, 2), "labeled_probs": torch.full((1, 2), 0.5)} | change
    with pytest.raises(ValueError, match=re.escape(message)):
        bait(**given)


def test_the_acquisition_hands_over_what_is_labeled_and_wants_a_softmax():
    features, probs = _made(16)
    pool = Pool.create(16, torch.tensor([3, 9]))

    def context(budget, form=Form.SOFTMAX):
        def seen(index):
            posterior = Posterior(probs[index], form)
            return Predictions(index, torch.arange(len(index)), posterior, image_features=features[index])

        return Context(pool, budget, seed=0, unlabeled=seen(pool.unlabeled), labeled=seen(pool.labeled))

    here, there = ((features[index], probs[index]) for index in (pool.unlabeled, pool.labeled))
    query = Bait().select(context(4))
    assert query.index.tolist() == pool.unlabeled[reference(*here, *there, 4)].tolist()
    assert len(Bait().select(context(0)).index) == 0 and len(set(Bait().select(context(14)).index.tolist())) == 14
    with pytest.raises(ValueError, match="must be a softmax over classes for BAIT, got sigmoid"):
        Bait().select(context(1, Form.SIGMOID))
    for make in (lambda: Bait(regularization=-1.0), lambda: Bait(weights="mean")):
        with pytest.raises(ConfigError, match=r"acquisition\.(regularization|weights) must be"):
            make()
