"""The vote of nearest neighbors beside a loop over all of them."""

import math

import torch

from alpl.metrics.nearest_neighbors import neighbor_classes


def slow(feature: list[float], bank: list[list[float]], targets: list[int], num_classes: int, k: int) -> int:
    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    nearest = sorted(range(len(bank)), key=lambda row: -cosine(feature, bank[row]))[:k]
    votes = [0.0] * num_classes
    for row in nearest:
        votes[targets[row]] += math.exp(cosine(feature, bank[row]) / 0.1)
    return votes.index(max(votes))


def test_equals_the_loop() -> None:
    draw = torch.Generator().manual_seed(0)
    bank, features = torch.randn(40, 3, generator=draw), torch.randn(30, 3, generator=draw)
    targets = torch.randint(4, (40,), generator=draw)
    for k in (1, 5, 40, 200):
        expected = [slow(row, bank.tolist(), targets.tolist(), 4, k) for row in features.tolist()]
        assert neighbor_classes(features, bank, targets, 4, k=k).tolist() == expected, k


def test_near_votes_weigh_more() -> None:
    """One neighbor at cosine 1 has exp(10); nine at cosine 0 have nine."""
    bank = torch.tensor([[1.0, 0.0]] + [[0.0, 1.0]] * 9)
    assert neighbor_classes(torch.tensor([[5.0, 0.0]]), bank, torch.tensor([1] + [0] * 9), 2).tolist() == [1]


def test_no_image() -> None:
    assert neighbor_classes(torch.zeros(0, 2), torch.ones(1, 2), torch.tensor([0]), 1).shape == (0,)
