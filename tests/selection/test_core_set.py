import re

import numpy as np
import pytest
import torch
from selection_references import best_radius

from alpl.selection.core_set import core_set
from alpl.selection.cover import can_cover
from alpl.selection.feature_spaces import EuclideanSpace
from alpl.selection.kcenter import kcenter_greedy


def _covered(features, centers, picks, num_outliers):
    """The radius of a choice."""
    covered_by = torch.cat([centers, features[picks]]).double()
    if num_outliers >= len(features):
        return 0.0
    if not len(covered_by):
        return float("inf")
    pairs = (features.double()[:, None] - covered_by).square().sum(2).sqrt()
    return sorted(pairs.min(1).values.tolist())[len(features) - 1 - num_outliers]


def _cases(number, most):
    """Points on grids (ties, duplicates) and in general position, with budgets of 1, some and all."""
    random = torch.Generator().manual_seed(0)
    for case in range(number):
        candidates = int(torch.randint(1, most + 1, (1,), generator=random))
        num_centers, width = (int(torch.randint(low, 3, (1,), generator=random)) for low in (0, 1))
        points = torch.randn(candidates + num_centers, width, generator=random)
        points = points if case % 2 else (2 * points).round()
        num_outliers = int(torch.randint(0, 3, (1,), generator=random))
        budget = (1, candidates, min(2, candidates), min(3, candidates))[case % 4]
        yield points[:candidates], points[candidates:], budget, num_outliers


@pytest.mark.slow
def test_small_pools_get_the_least_radius():
    for features, centers, budget, num_outliers in _cases(1000, 6):
        found = core_set(features, centers, budget, num_outliers=num_outliers)
        expected = best_radius(features, centers, budget, num_outliers)
        assert found.radius == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert found.bound == pytest.approx(found.radius, rel=1e-9), "solved to the end"
        assert found.index.unique().numel() == budget
        assert _covered(features, centers, found.index, num_outliers) == pytest.approx(found.radius, rel=1e-9)


@pytest.mark.slow
def test_large_pools_get_the_greedy_start_and_a_bound_that_holds():
    for features, centers, budget, num_outliers in _cases(1000, 6):
        found = core_set(features, centers, budget, num_outliers=num_outliers, exact_up_to=0)
        assert found.index.tolist() == kcenter_greedy(features, centers, budget)[0].tolist()
        assert _covered(features, centers, found.index, num_outliers) == pytest.approx(found.radius, rel=1e-9)
        assert found.bound <= best_radius(features, centers, budget, num_outliers) * (1 + 1e-9)
        if num_outliers == 0 and (len(centers) or budget > 1):
            assert found.gap <= 0.5 + 1e-9, "greedy is at most twice the optimum"


@pytest.mark.parametrize("num_outliers", [0, 3])
def test_the_radius_among_many_centers(num_outliers):
    random = torch.Generator().manual_seed(4)
    for _ in range(20):
        points = torch.rand(1400, 2, generator=random)  # more centers than the first bounds compare with
        found = core_set(points[600:], points[:600], 5, num_outliers=num_outliers, exact_up_to=0)
        expected = _covered(points[600:], points[:600], found.index, num_outliers)
        assert found.radius == pytest.approx(expected, rel=1e-9)


def test_the_bound_is_near_where_distances_are_alike():
    random = torch.Generator().manual_seed(2)
    points = torch.randn(1500, 256, generator=random)
    found = core_set(points[100:], points[:100], 100, num_outliers=2, exact_up_to=0)
    assert found.gap < 0.1, "half the greedy distance alone would leave 0.5"
    # as it is defined, from all pairs
    order, far = kcenter_greedy(points[100:], points[:100], 103)
    pairs = (points[100:].double()[:, None] - points[100:][order].double()).square().sum(2).sqrt()
    second = float(pairs.sort(1).values[:, 1].min())
    assert found.bound == pytest.approx(min(second, float(far[-1])), rel=1e-4) and found.bound <= second


@pytest.mark.parametrize("limit", [256 * 7, 2**20])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_lower_bounds_of_the_nearest(limit, count):
    random = torch.Generator().manual_seed(3)
    points = 50 + torch.randn(60, 6, generator=random)
    bounds = EuclideanSpace(points, points[:0], limit).lower_bounds(torch.arange(3), count)
    pairs = (points.double()[:, None] - points[:3].double()).square().sum(2).sort(1).values
    assert bounds.shape == (60, count) and (bounds[:, 3:] == torch.inf).all()
    assert (bounds[:, :3] <= pairs[:, :count]).all() and torch.allclose(bounds[:, :3], pairs[:, :count], atol=1e-3)


def test_by_hand():
    # one pick for 0, 1, 2 and the outlier 100: without outliers the best is 2 (98 from 100), with one it is 1
    features = torch.tensor([[0.0], [1.0], [2.0], [100.0]])
    none = torch.zeros(0, 1)
    assert core_set(features, none, 1).index.tolist() == [2] and core_set(features, none, 1).radius == 98.0
    robust = core_set(features, none, 1, num_outliers=1)
    assert (robust.index.tolist(), robust.radius, robust.bound, robust.gap) == ([1], 1.0, 1.0, 0.0)


def test_greedy_is_bettered():
    # on a line, greedy starts at index 0 (the end) and needs a radius of 2; 1 and 4 cover 0 to 5 within 1
    features = torch.arange(6.0)[:, None]
    greedy = core_set(features, torch.zeros(0, 1), 2, exact_up_to=5)
    found = core_set(features, torch.zeros(0, 1), 2, exact_up_to=6)
    assert (greedy.index.tolist(), greedy.radius) == ([0, 5], 2.0) and 0 < greedy.gap <= 0.5
    assert (sorted(found.index.tolist()), found.radius, found.bound) == ([1, 4], 1.0, 1.0)


def test_no_pick_leaves_what_the_centers_cover():
    found = core_set(torch.tensor([[1.0], [3.0]]), torch.zeros(1, 1), 0)
    assert (found.index.tolist(), found.radius, found.bound) == ([], 3.0, 3.0)
    found = core_set(torch.zeros(0, 2), torch.zeros(3, 2), 0)
    assert (found.index.tolist(), found.radius, found.bound) == ([], 0.0, 0.0)


def test_time_that_is_too_short_leaves_a_gap_that_holds():
    random = torch.Generator().manual_seed(1)
    features = torch.rand(60, 2, generator=random)
    rushed = core_set(features, torch.zeros(0, 2), 6, seconds_a_step=1e-9)
    solved = core_set(features, torch.zeros(0, 2), 6)
    assert rushed.bound <= solved.radius <= rushed.radius and solved.gap == pytest.approx(0, abs=1e-9)


def test_a_cover_that_greed_misses():
    # the largest set takes half of both others, which only together cover all
    covers = np.zeros((6, 3), dtype=bool)
    covers[:3, 0] = covers[3:, 1] = covers[1:5, 2] = True
    assert can_cover(covers, 2, 0, 10.0).sets.tolist() == [0, 1]
    assert can_cover(covers, 1, 0, 10.0) == (None, True)
    assert can_cover(covers, 1, 2, 10.0).sets.tolist() == [2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": 3}, "budget must be in [0, 2] candidates, got 3"),
        ({"budget": 1, "num_outliers": -1}, "num_outliers must be >= 0 and seconds_a_step > 0, got -1, 60.0"),
        ({"budget": 1, "seconds_a_step": 0.0}, "num_outliers must be >= 0 and seconds_a_step > 0, got 0, 0.0"),
    ],
)
def test_settings_that_cannot_work(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        core_set(torch.zeros(2, 1), torch.zeros(1, 1), **arguments)
