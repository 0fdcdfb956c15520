"""k-center with class balance, bit for bit the loop that brings everything up to date after each pick."""

import re

import pytest
import torch
from selection_references import balanced_kcenter as obvious
from selection_references import kcenter

from alpl.selection.balanced_kcenter import balanced_kcenter
from alpl.selection.kcenter import kcenter_greedy


def _case(random, number, num_centers, num_classes, width, ties):
    """Points and probabilities; on a grid and in quarters where ``ties``, so that many images are worth the same."""
    points = torch.randn(number + num_centers, width, generator=random)
    probs = (2 * torch.randn(number, num_classes, generator=random)).softmax(1)
    if ties:
        points = points.round()
        quarters = torch.randint(num_classes, (number, 4), generator=random)
        probs = torch.nn.functional.one_hot(quarters, num_classes).sum(1) / 4
    return points[:number], points[number:], probs


@pytest.mark.slow
def test_a_thousand_random_cases():
    random = torch.Generator().manual_seed(0)
    for case in range(1000):
        number = int(torch.randint(1, 30 if case % 5 == 0 else 10, (1,), generator=random))
        num_centers, num_classes, width = (
            int(torch.randint(low, high, (1,), generator=random)) for low, high in ((0, 6), (1, 6), (1, 6))
        )
        features, centers, probs = _case(random, number, num_centers, num_classes, width, ties=case % 2 == 0)
        budget, weight = (1, number, number // 2)[case % 3], (0.0, 0.25, 1.0, 8.0)[case // 3 % 4]
        # from all that is lacking to more than enough, and classes in between
        targets = torch.randint(-2, 2 + 3 * budget // num_classes, (num_classes,), generator=random) / 2
        limit = 2**20 if case % 2 else 256 * (width + 1) * 4
        picks, distances = balanced_kcenter(
            features, centers, probs, targets, weight, budget, memory_limit=limit if case % 5 else 2**22
        )
        assert (picks.tolist(), distances.tolist()) == obvious(features, centers, probs, targets, weight, budget), case


@pytest.mark.sample(4)
@pytest.mark.parametrize("num_centers", [0, 400])
@pytest.mark.parametrize("weight", [0.05, 0.5, 10.0])
@pytest.mark.parametrize("each", [1.0, 5.0, 20.0])  # all classes get enough early, late, never
def test_many_images(num_centers, weight, each):
    random = torch.Generator().manual_seed(1)
    features, centers, probs = _case(random, 2500, num_centers, 20, 8, ties=False)
    given = features, centers, probs, torch.full((20,), each), weight, 150
    picks, distances = balanced_kcenter(*given, memory_limit=2**20)
    assert (picks.tolist(), distances.tolist()) == obvious(*given)
    assert balanced_kcenter(*given)[0].tolist() == picks.tolist(), "the memory limit changes nothing"


def test_images_that_are_all_alike_come_in_order():
    features, probs = torch.ones(3000, 2), torch.full((3000, 4), 0.25)
    picks, _ = balanced_kcenter(features, torch.zeros(1, 2), probs, torch.full((4,), 1.5), 2.0, 12)
    assert picks.tolist() == list(range(12))


def test_without_weight_it_is_k_center_greedy():
    random = torch.Generator().manual_seed(2)
    features, centers, probs = _case(random, 1000, 50, 3, 2, ties=True)
    picks, distances = balanced_kcenter(features, centers, probs, torch.ones(3), 0.0, 100)
    assert torch.equal(picks, kcenter_greedy(features, centers, 100)[0])
    assert picks.tolist() == kcenter(features, centers, 100)[0] and (distances.diff() <= 0).all()


def test_by_hand():
    # class 0 lacks 1, class 1 nothing: norms |1 - p| + p of 0, 2, 1 from the first pick on; distances 1, 3, 2
    features, probs = torch.tensor([[1.0], [3.0], [-2.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    lack, center = torch.tensor([1.0, 0.0]), torch.zeros(1, 1)
    # costs -1 + 0, -3 + 2 w, -2 + w: with w = 1.5 they are -1, 0, -0.5; with w = 0.5 they are -1, -2, -1.5
    assert balanced_kcenter(features, center, probs, lack, 1.5, 1)[0].tolist() == [0]
    assert balanced_kcenter(features, center, probs, lack, 0.5, 1)[0].tolist() == [1]
    # after image 0 nothing is lacking, and every norm is 1: the farther of 3 (2 from image 0) and -2 (2 from 0) ties
    assert balanced_kcenter(features, center, probs, lack, 1.5, 3)[0].tolist() == [0, 1, 2]


def test_nothing_to_pick():
    picks, distances = balanced_kcenter(torch.zeros(0, 2), torch.zeros(0, 2), torch.zeros(0, 3), torch.ones(3), 1.0, 0)
    assert picks.shape == distances.shape == (0,)


def test_a_limit_that_holds_no_block_is_an_error():
    given = torch.rand(5, 2), torch.rand(1, 2), torch.full((5, 500), 0.002), torch.ones(500), 1.0, 2
    with pytest.raises(ValueError, match=re.escape("memory_limit must be at least 8000 bytes here, got 1000")):
        balanced_kcenter(*given, memory_limit=4000)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_picks_the_same():
    random = torch.Generator().manual_seed(3)
    given = *_case(random, 3000, 300, 10, 16, ties=False), torch.full((10,), 10.0), 0.5, 200
    there = balanced_kcenter(*(part.cuda() if isinstance(part, torch.Tensor) else part for part in given))
    assert torch.equal(balanced_kcenter(*given)[0], there[0].cpu())
