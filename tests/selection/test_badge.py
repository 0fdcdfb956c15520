import re

import pytest
import torch
from selection_references import badge as obvious
from selection_references import gradients

from alpl.selection.badge import badge
from alpl.selection.gradient_space import GradientSpace


def _images(random, number, case):
    width, num_classes = (int(torch.randint(1, 5, (1,), generator=random)) for _ in range(2))
    features = torch.randn(number, width, generator=random)
    if case % 3 == 0:
        features = features.round()
    probs = (3 * torch.randn(number, num_classes, generator=random)).softmax(1)
    if case % 2 and number > 2:  # duplicates
        which = torch.randint(0, number // 2, (number,), generator=random)
        features, probs = features[which], probs[which]
    return features, probs


@pytest.mark.slow
@pytest.mark.parametrize("first", ["as_written", "as_released"])
def test_a_thousand_random_cases(first):
    random = torch.Generator().manual_seed(0)
    for case in range(1000):
        number = int(torch.randint(0, 25 if case % 5 == 0 else 8, (1,), generator=random))
        features, probs = _images(random, number, case)
        budget = (min(1, number), number, number // 2)[case % 3]
        draws = [torch.Generator().manual_seed(case) for _ in range(2)]
        limit = 2**20 if case % 2 else 256 * 9
        picks, squared = badge(features, probs, budget, draws[0], first=first, memory_limit=limit)
        assert picks.tolist() == obvious(features, probs, budget, draws[1], first), case
        embedded = gradients(features, probs)
        for k, pick in enumerate(picks.tolist()):
            earlier = embedded[picks[:k]] if k else torch.zeros_like(embedded[:1])
            expected = (embedded[pick] - earlier).square().sum(1).min()
            assert float(squared[k]) == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("limit", [2**25, 2**14], ids=["all held", "in blocks"])
def test_many_images(limit):
    random = torch.Generator().manual_seed(1)
    features, probs = torch.randn(800, 16, generator=random), torch.randn(800, 10, generator=random).softmax(1)
    draws = [torch.Generator().manual_seed(7) for _ in range(2)]
    picks, squared = badge(features, probs, 300, draws[0], memory_limit=limit)
    assert picks.tolist() == obvious(features, probs, 300, draws[1])
    space = GradientSpace(features, probs, 2**20)
    for k in (1, 31, 32, 33, 299):  # about the blocks in which they are computed
        assert squared[k] == space.exact(picks[k].expand(k), picks[:k]).min()


def test_bounds_hold_what_lies_between_them():
    random = torch.Generator().manual_seed(3)
    features, probs = torch.randn(60, 5, generator=random), torch.randn(60, 4, generator=random).softmax(1)
    space, everyone = GradientSpace(features, probs, 256 * 10), torch.arange(60)
    for columns in (everyone[:1], everyone[7:40]):
        pairs = torch.cartesian_prod(everyone, columns)
        exact = space.exact(pairs[:, 0], pairs[:, 1]).view(60, -1).amin(1)
        for low, high in (space.bounds(columns), space.between(everyone)(columns)):
            assert (low <= exact).all() and (exact <= high).all()
            assert (high - low <= 1e-5 * (space.norms + space.norms[columns].max())).all()


def test_distances_of_gradients_that_are_never_formed():
    random = torch.Generator().manual_seed(2)
    features, probs = torch.randn(20, 6, generator=random), torch.randn(20, 4, generator=random).softmax(1)
    space, embedded = GradientSpace(features, probs, 2**20), gradients(features, probs)
    rows, columns = torch.cartesian_prod(torch.arange(20), torch.arange(20)).unbind(1)
    expected = (embedded[rows] - embedded[columns]).square().sum(1)
    torch.testing.assert_close(space.exact(rows, columns), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(space.norms, embedded.square().sum(1))


@pytest.mark.slow
def test_the_chance_of_a_second_pick_is_its_squared_distance():
    # with p = 0.5 twice the gradient is (-0.5, 0.5) h; from the longest, h = 3, squared distances go as (3 - h)^2
    features = torch.tensor([[3.0], [2.0], [1.0], [0.0]])
    probs = torch.full((4, 2), 0.5)
    counts = torch.zeros(4)
    for seed in range(2000):
        picks, _ = badge(features, probs, 2, torch.Generator().manual_seed(seed), first="as_released")
        assert picks[0] == 0
        counts[picks[1]] += 1
    expected = torch.tensor([0.0, 1, 4, 9]) / 14
    assert ((counts / 2000 - expected).abs() <= 4 * (expected * (1 - expected) / 2000).sqrt()).all(), counts


def test_the_first_pick_is_uniform_as_written():
    features, probs = torch.tensor([[9.0], [0.0], [1.0]]), torch.full((3, 2), 0.5)
    counts = torch.zeros(3)
    for seed in range(1500):
        counts[badge(features, probs, 1, torch.Generator().manual_seed(seed))[0]] += 1
    assert ((counts / 1500 - 1 / 3).abs() < 0.05).all(), counts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": 4}, "budget must be in [0, 3] candidates, got 4"),
        ({"probs": torch.full((2, 2), 0.5)}, "probs must be [3 C], got [2, 2]"),
        ({"probs": torch.tensor([[0.5, 0.5], [0.5, 1.5], [0.5, 0.5]])}, "probs must be in [0, 1], got 1.5"),
        ({"probs": torch.tensor([[0.5, 0.5], [-0.5, 0.5], [0.5, 0.5]])}, "probs must be in [0, 1], got -0.5"),
        ({"probs": torch.full((3, 2), torch.nan)}, "probs must be in [0, 1], got nan"),
        ({"features": torch.full((3, 1), torch.nan)}, "must be finite"),
        ({"first": "largest"}, "first must be one of as_written, as_released, got 'largest'"),
    ],
)
def test_what_cannot_be_drawn_from_is_an_error(change, message):
    arguments = {"features": torch.zeros(3, 1), "probs": torch.full((3, 2), 0.5), "budget": 1, **change}
    with pytest.raises(ValueError, match=re.escape(message)):
        badge(generator=torch.Generator(), **arguments)
