import math
import re

import pytest
import torch

from alpl.acquisition import Bald, Entropy, KCenter, Margin, Stochastic
from alpl.errors import ConfigError
from alpl.predictions import Need

# margins 1 - (p1 - p2): 0.2, 0.8, 0.4, 0
PROBS = [[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("chances", "beta", "weights"),
    [
        ("power", 1.0, [0.2, 0.8, 0.4, 0.0]),
        ("power", 2.0, [0.04, 0.64, 0.16, 0.0]),
        ("softmax", 3.0, [math.exp(0.6), math.exp(2.4), math.exp(1.2), 1.0]),
        ("softrank", 1.0, [1 / 3, 1.0, 1 / 2, 1 / 4]),
        ("power", 0.0, [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_the_chances_are_those_of_the_paper(context_of, chances, beta, weights):
    # the first of exponential times of rates w is i with chance w_i / sum w, and so on with those that are left
    for seed in range(20):
        context = context_of(PROBS, budget=4, seed=seed)
        race = torch.empty(4, dtype=torch.float64).exponential_(generator=context.generator("stochastic"))
        times = race / torch.tensor(weights, dtype=torch.float64)
        query = Stochastic(Margin(), beta, chances).select(context)
        assert (query.index // 2).tolist() == times.argsort(stable=True).tolist()


def test_the_chances_are_met(context_of):
    counts = torch.zeros(4)
    for seed in range(400):
        counts[int(Stochastic(Margin()).select(context_of(PROBS, seed=seed)).index[0]) // 2] += 1
    expected = torch.tensor([0.2, 0.8, 0.4, 0.0]) / 1.4
    assert (counts / 400 - expected).abs().max() < 0.1  # four standard deviations


def test_what_is_worth_nothing_comes_last_and_the_utility_is_the_rankings(context_of):
    for seed in range(20):
        query = Stochastic(Margin()).select(context_of(PROBS, budget=4, seed=seed))
        assert int(query.index[-1]) == 7 and query.pool_utility.tolist() == pytest.approx([0.2, 0.8, 0.4, 0.0])
        assert torch.equal(query.utility, query.pool_utility[query.index // 2])


def test_a_large_beta_is_the_ranking_and_the_same_seed_the_same_draw(context_of):
    context = context_of(PROBS, budget=3, seed=1)
    assert torch.equal(Stochastic(Entropy(), 1e4, "softmax").select(context).index, Entropy().select(context).index)
    draws = [Stochastic(Entropy()).select(context).index.tolist() for _ in range(2)]
    assert draws[0] == draws[1]


def test_it_needs_what_its_ranking_needs(context_of):
    assert Stochastic(Bald()).needs is Need.VIEWS
    views = [[[0.5, 0.5], [1.0, 0.0]], [[0.5, 0.5], [0.0, 1.0]]]
    assert Stochastic(Bald()).select(context_of(number=2, views=views)).index.tolist() == [3]


def test_what_cannot_be_is_refused(context_of):
    for make, message in (
        (lambda: Stochastic(KCenter()), "acquisition.ranking must give each image a utility, got KCenter"),
        (lambda: Stochastic(Margin(), -1.0), "acquisition.beta must be finite and >= 0, got -1.0"),
        (lambda: Stochastic(Margin(), chances="even"), "acquisition.chances must be one of power, softmax, softrank"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            make()
    with pytest.raises(ValueError, match=re.escape("budget must be in [0, 4] images, got 5")):
        Stochastic(Margin()).select(context_of(PROBS, budget=5))
