import torch

from alpl.acquisition import RandomSampling
from alpl.predictions import Need


def test_it_needs_no_model(context_of):
    assert RandomSampling().needs is Need.NOTHING


def test_the_seed_alone_decides(context_of):
    def picks(seed):
        return tuple(RandomSampling().select(context_of(number=50, budget=7, seed=seed)).index.tolist())

    first = picks(1)
    torch.manual_seed(0)
    assert picks(1) == first
    assert len({picks(seed) for seed in range(20)}) == 20


def test_every_image_and_every_pair_have_the_same_chance(context_of):
    pairs = torch.zeros(6, 6)
    for seed in range(3000):
        chosen = (RandomSampling().select(context_of(number=6, budget=2, seed=seed)).index - 1) // 2
        pairs[chosen[0], chosen[1]] += 1
    assert pairs.diagonal().sum() == 0
    off_diagonal = pairs[~torch.eye(6, dtype=torch.bool)]
    assert (off_diagonal - 100).abs().max() < 5 * (3000 / 30 * 29 / 30) ** 0.5


def test_the_utility_is_recorded_but_not_the_order_of_the_pool(context_of):
    query = RandomSampling().select(context_of(number=40, budget=40))
    assert query.pool_utility.unique().numel() == 40
    assert query.index.tolist() != sorted(query.index.tolist())
