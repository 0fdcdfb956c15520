"""The bounds that greedy selections share."""

import math

import pytest
import torch
from selection_references import squared_distances

from alpl.selection import nearest_distances
from alpl.selection.feature_spaces import EuclideanSpace
from alpl.selection.nearest_distances import NearestDistances, leading

LIMIT = 2**20


def _space(number, num_centers, width=6):
    random = torch.Generator().manual_seed(0)
    points = torch.randn(number + num_centers, width, generator=random)
    exact = torch.stack([squared_distances(points[:number], center) for center in points[number:]]).amin(0)
    return EuclideanSpace(points[:number], points[number:], LIMIT), exact


def test_the_leading_ones():
    random = torch.Generator().manual_seed(1)
    for _ in range(300):
        keys = torch.randint(0, 5, (int(torch.randint(1, 12, (1,), generator=random)),), generator=random).double()
        order = sorted(range(len(keys)), key=lambda i: (-float(keys[i]), i))
        for size in range(1, len(keys)):
            group, outside, first_outside = leading(keys, size)
            assert group.tolist() == sorted(order[:size])
            assert (first_outside, outside) == (order[size], float(keys[order[size]]))
    assert [leading(torch.zeros(2), 5)[k] for k in (1, 2)] == [-math.inf, 2]


@pytest.mark.parametrize("num_centers", [1, 100, 129, 2000])
def test_bounds_hold_and_what_matters_is_exact(monkeypatch, num_centers):
    monkeypatch.setattr(nearest_distances, "_WORTH", 1)  # many small products
    space, exact = _space(700, num_centers)
    nearest = NearestDistances(space)
    assert (nearest.upper >= exact).all()
    group = torch.arange(0, 700, 3)
    for quantile in (0.9, 0.5, 0.0):  # each time more of them matter
        matters = exact[group].quantile(quantile).expand(len(group))
        found = nearest.settle(group, matters)
        above = exact[group] >= matters
        assert torch.equal(found[above], exact[group][above]) and (found >= exact[group]).all()
        assert (found[~above] < matters[~above]).all()
    assert torch.equal(nearest.upper[group], exact[group])


def test_a_settled_few_are_far_fewer_products(monkeypatch):
    space, exact = _space(2000, 2000)
    nearest, compared = NearestDistances(space), []
    settle = space.settle
    monkeypatch.setattr(space, "settle", lambda rows, columns, *given: _counted(compared, settle, rows, columns, given))
    nearest.screen(20)
    assert sum(compared) < 0.4 * 2000 * 2000
    farthest = exact.topk(20).indices
    assert torch.equal(nearest.upper[farthest], exact[farthest])


def _counted(compared, settle, rows, columns, given):
    compared.append(len(rows) * len(columns))
    return settle(rows, columns, *given)


def test_picks_are_centers_for_those_that_come_later():
    space, exact = _space(300, 40)
    nearest = NearestDistances(space)
    group = torch.arange(50)
    nearest.settle(group, torch.zeros(50))
    nearest.add([3, 7], group, torch.minimum(exact[:50], torch.zeros(50)))  # whatever the group knows is kept
    rest = torch.arange(50, 300)
    found = nearest.settle(rest, torch.zeros(250))
    everyone = torch.arange(300)
    for pick in (3, 7):
        exact = torch.minimum(exact, space.exact(everyone, torch.full_like(everyone, pick)))
    assert torch.equal(found, exact[50:]) and (nearest.upper[:50] == 0).all()
