"""Class balance around greedy acquisitions, and around rankings of detectors' images."""

from itertools import combinations

import pytest
import torch
from command import TINY, alpl

from alpl.acquisition import (
    BalancedGreedy,
    BalancedKCenter,
    Cdal,
    ClassBalanced,
    Context,
    DetectionUncertainty,
    Entropy,
    KCenter,
    LeastConfidence,
    Noris,
)
from alpl.acquisition.class_balanced import class_shares, lacking
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Form, Need, Posterior, Predictions

COUNTS = torch.tensor([6, 3, 1])


def context(budget=8, number=60, seed=0):
    random = torch.Generator().manual_seed(seed)
    pool = Pool.create(number + 10, torch.arange(0, number + 10, 7)[:10])

    def seen(index):
        probs = (torch.randn(len(index), 3, generator=random) * 2 + torch.tensor([2.0, 0, 0])).softmax(-1)
        features = torch.randn(len(index), 4, generator=random)
        return Predictions(index, torch.arange(len(index)), posterior=Posterior(probs), image_features=features)

    return Context(pool, budget, 0, seen(pool.unlabeled), seen(pool.labeled), class_counts=COUNTS)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_k_center_balanced_is_algorithm_2(weight) -> None:
    given = context()
    ours, fast = BalancedGreedy(KCenter(), weight).select(given), BalancedKCenter(weight).select(given)
    assert ours.index.tolist() == fast.index.tolist() and torch.equal(ours.utility, fast.utility)


@pytest.mark.parametrize("greedy", [KCenter("cosine"), Cdal(), Cdal("class"), Noris(LeastConfidence())])
def test_without_weight_it_is_the_acquisition_and_with_weight_it_is_balanced(greedy) -> None:
    given = context()
    alone, none, heavy = (
        one.select(given) for one in (greedy, BalancedGreedy(greedy, 0.0), BalancedGreedy(greedy, 50))
    )
    assert none.index.tolist() == alone.index.tolist() and torch.equal(none.utility, alone.utility)
    assert len(heavy.index.unique()) == 8 and Need.CLASS_COUNTS | greedy.needs in BalancedGreedy(greedy).needs
    probs, targets = class_shares(given), lacking(given)
    places = [torch.searchsorted(given.pool.unlabeled, one.index) for one in (alone, heavy)]
    lacks = [float((targets - probs[place].sum(0)).abs().sum()) for place in places]
    assert lacks[1] < 0.6 * lacks[0]


def test_what_is_not_greedy_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"acquisition\.greedy must be k-center, CDAL or NORIS, got Entropy"):
        BalancedGreedy(Entropy())
    with pytest.raises(ConfigError, match=r"acquisition\.weight must be finite and >= 0, got nan"):
        BalancedGreedy(KCenter(), float("nan"))


def test_of_detections_an_image_has_the_shares_of_its_classes() -> None:
    """Four images with 2, 0, 1 and 3 detections; background and two classes."""
    row = torch.tensor([0, 0, 2, 3, 3, 3])
    probs = torch.tensor(
        [[0.2, 0.8, 0.0], [0.6, 0.2, 0.2], [0.5, 0.0, 0.5], [0.1, 0.3, 0.6], [0.2, 0.0, 0.8], [0.4, 0.6, 0.0]]
    ).double()
    pool = Pool.create(6, torch.tensor([1, 4]))
    posterior = Posterior(probs, Form.BACKGROUND)
    seen = Predictions(
        pool.unlabeled, row, posterior=posterior, labels=probs[:, 1:].argmax(1), scores=probs[:, 1:].amax(1)
    )
    given = Context(pool, 2, 0, seen, class_counts=torch.tensor([8, 0]))
    expected = torch.tensor([[1.0 / 1.2, 0.2 / 1.2], [0, 0], [0, 1], [0.9 / 2.3, 1.4 / 2.3]]).double()
    torch.testing.assert_close(class_shares(given), expected)
    # eight objects in two images count as two images: 2 a class are wanted
    torch.testing.assert_close(lacking(given), torch.tensor([0.0, 2.0]).double())
    ranking = DetectionUncertainty("entropy", reduction="sum")
    utility = ranking.utility(given).double()
    query = ClassBalanced(ranking, 2.0).select(given)
    costs = {
        pair: 2 * float((torch.tensor([0.0, 2.0]) - expected[list(pair)].sum(0)).abs().sum())
        - float(utility[list(pair)].sum())
        for pair in combinations(range(4), 2)
    }
    best = min(costs, key=lambda pair: costs[pair])
    assert sorted(query.index.tolist()) == pool.unlabeled[list(best)].tolist()
    assert query.object_utility is not None and len(query.object_utility) == 6


@pytest.mark.slow
def test_they_run(tmp_path) -> None:
    run = alpl(tmp_path, *TINY, "acquisition=noris_balanced")
    assert run.status == 0, run.err
    scenes = alpl(tmp_path, "scale=smoke", "acquisition=detection_entropy_balanced", "trainer.max_epochs=1")
    assert scenes.status == 0, scenes.err
