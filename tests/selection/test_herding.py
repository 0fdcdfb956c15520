import math
import re

import pytest
import torch

from alpl.acquisition import Context, LeastConfidence, Margin, MaxHerding, UncertaintyHerding
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Posterior, Predictions
from alpl.selection import herding
from alpl.selection.herding import labeled_sigma


def reference(features, labeled, budget, weights=None, sigma=1.0):
    """Bae et al. 2024, Algorithm 1, and Bae et al. 2025: all gains after each pick, pair by pair."""
    points = [x / x.norm() for x in features.double()]
    chosen = [x / x.norm() for x in labeled.double()]
    weights = [1.0] * len(points) if weights is None else weights.tolist()

    def kernel(one, other):
        return math.exp(-float((one - other).square().sum()) / sigma**2)

    picks, gains = [], []
    for _ in range(budget):
        best, most = -1, -1.0
        for candidate in range(len(points)):
            if candidate not in picks:
                gain = 0.0
                for point, weight in zip(points, weights, strict=True):
                    known = max([kernel(point, other) for other in chosen], default=0.0)
                    gain += weight * max(kernel(point, points[candidate]) - known, 0.0) / len(points)
                if gain > most + 1e-12:
                    best, most = candidate, gain
        picks.append(best)
        gains.append(most)
        chosen.append(points[best])
    return picks, gains


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("num_labeled", "budget", "sigma"), [(0, 6, 1.0), (3, 5, 0.2), (1, 17, 0.5)])
def test_the_picks_are_those_of_the_loop(num_labeled, budget, sigma, weighted):
    random = torch.Generator().manual_seed(budget)
    features = torch.randn(17, 3, generator=random)
    labeled = torch.randn(num_labeled, 3, generator=random)
    weights = torch.rand(17, generator=random) if weighted else None
    picks, gains = herding(features, labeled, budget, weights=weights, sigma=sigma, memory_limit=1500)
    expected = reference(features, labeled, budget, weights, sigma)
    assert picks.tolist() == expected[0] and gains.tolist() == pytest.approx(expected[1], abs=1e-9)


def test_by_hand():
    # 0, 1, 2 are one heap, 3 and 4 another: the middle of the larger, then one of the other, first index on a tie
    features = torch.tensor([[0.0], [0.1], [0.2], [9.0], [9.1]])
    picks, gains = herding(features, torch.empty(0, 1), 2, normalize=False, sigma=1.0)
    assert picks.tolist() == [1, 3]
    near = math.exp(-0.01)
    assert gains.tolist() == pytest.approx([(1 + 2 * near) / 5, (1 + near) / 5], rel=1e-5)


def test_what_is_covered_adds_nothing_and_weightless_images_do_not_count():
    features = torch.tensor([[0.0], [5.0], [10.0]])
    picks, gains = herding(features, features[:1], 3, weights=torch.tensor([1.0, 0.0, 0.5]), normalize=False, sigma=0.1)
    assert picks.tolist()[0] == 2 and gains.tolist() == pytest.approx([0.5 / 3, 0.0, 0.0])


def test_blocks_and_groups_choose_the_same():
    features = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    small, large = (herding(features, features[:9], 100, sigma=0.4, memory_limit=size) for size in (2**13, 2**28))
    assert small[0].tolist() == large[0].tolist()


@pytest.mark.sample(4)
@pytest.mark.parametrize("seed", range(200))
def test_equal_images_are_picked_once_each(seed):
    # few distinct ones: most gains are 0, as are those of what is picked
    random = torch.Generator().manual_seed(seed)
    number, distinct = int(torch.randint(2, 13, (), generator=random)), int(torch.randint(1, 5, (), generator=random))
    features = torch.randn(distinct, 3, generator=random)[torch.randint(distinct, (number,), generator=random)]
    labeled = features[: seed % 3]
    picks, gains = herding(features, labeled, number, sigma=0.5)
    expected = reference(features, labeled, number, sigma=0.5)
    assert sorted(picks.tolist()) == list(range(number))
    assert gains.tolist() == pytest.approx(expected[1], abs=1e-9)


def test_no_image_is_picked_twice_once_nothing_gains():
    features = torch.eye(3)[torch.arange(20) % 3]
    picks, _ = herding(features, torch.empty(0, 3), 15)
    assert len(set(picks.tolist())) == 15


def test_the_sigma_of_labeled_images():
    assert labeled_sigma(torch.tensor([[0.0], [3.0], [3.0], [4.0]]), normalize=False) == pytest.approx(1.0)
    assert labeled_sigma(torch.tensor([[1.0, 0.0], [0.0, 2.0]])) == pytest.approx(2**0.5)
    assert labeled_sigma(torch.empty(0, 2)) == labeled_sigma(torch.ones(3, 2)) == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": 4}, "budget must be in [0, 3] candidates, got 4"),
        ({"labeled": torch.ones(1, 3)}, "features and labeled must be [U F] and [L F], got [3, 2] and [1, 3]"),
        ({"sigma": 0.0}, "sigma must be finite and > 0, got 0.0"),
        ({"weights": torch.ones(2)}, "weights must be Float[3], got shape [2]"),
        ({"weights": torch.tensor([1.0, -1.0, 0.0])}, "weights must be finite and not negative, got a least of -1"),
        ({"features": torch.full((3, 2), torch.inf)}, "must be finite"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    given = {"features": torch.rand(3, 2), "labeled": torch.ones(1, 2), "budget": 1} | change
    with pytest.raises(ValueError, match=re.escape(message)):
        herding(**given)


def test_the_acquisitions_hand_over_what_is_labeled_and_how_uncertain_it_is():
    random = torch.Generator().manual_seed(4)
    features, probs = torch.randn(20, 3, generator=random), torch.randn(20, 4, generator=random).softmax(1)
    pool = Pool.create(20, torch.tensor([3, 11, 12]))

    def observed(index):
        return Predictions(index, torch.arange(len(index)), Posterior(probs[index]), image_features=features[index])

    context = Context(pool, 5, seed=2, unlabeled=observed(pool.unlabeled), labeled=observed(pool.labeled))
    here, there = features[pool.unlabeled], features[pool.labeled]
    assert (
        MaxHerding(0.5).select(context).index.tolist()
        == pool.unlabeled[reference(here, there, 5, None, 0.5)[0]].tolist()
    )
    weights = Margin().utility(context).double()
    unit = there / there.norm(dim=1, keepdim=True)
    least = float(torch.pdist(unit.double()).min())
    query = UncertaintyHerding(Margin()).select(context)
    assert query.index.tolist() == pool.unlabeled[reference(here, there, 5, weights, least)[0]].tolist()
    assert torch.equal(query.pool_utility, weights)
    query = UncertaintyHerding(LeastConfidence(), sigma=2.0).select(context)
    weights = LeastConfidence().utility(context).double()
    assert query.index.tolist() == pool.unlabeled[reference(here, there, 5, weights, 2.0)[0]].tolist()


def test_settings_that_cannot_work():
    for make in (lambda: MaxHerding(0.0), lambda: UncertaintyHerding(Margin(), sigma="unlabeled")):
        with pytest.raises(ConfigError, match=r"acquisition\.sigma must be finite and > 0, got"):
            make()
    with pytest.raises(ConfigError, match="must give each image a utility, got MaxHerding"):
        UncertaintyHerding(MaxHerding())
