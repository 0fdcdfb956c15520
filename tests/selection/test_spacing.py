"""Choices that keep a distance, against slow loops."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.selection.spacing import Blocked, greedy_distinct, greedy_spaced, round_robin

STARTS = np.array([0, 5, 5, 12])  # three videos, one of them empty


def near(place, other, reach):
    video = [next(v for v in range(3) if STARTS[v] <= p < STARTS[v + 1]) for p in (place, other)]
    return video[0] == video[1] and abs(place - other) <= reach


@given(st.lists(st.integers(0, 11), max_size=6), st.integers(0, 4))
def test_what_is_blocked_against_a_loop(places, reach):
    blocked = Blocked(STARTS)
    blocked.add(places, reach)
    assert blocked.near.tolist() == [any(near(place, other, reach) for other in places) for place in range(12)]


@given(st.permutations(range(12)), st.lists(st.integers(0, 11), max_size=2), st.integers(0, 3), st.integers(0, 12))
def test_greedy_against_a_loop(order, labeled, reach, most):
    blocked = Blocked(STARTS)
    blocked.add(labeled, reach)
    video = np.searchsorted(STARTS, np.arange(12), side="right") - 1
    found = greedy_spaced(np.array(order), np.arange(12), video, blocked, reach, most)
    expected = []
    for place in order:
        if len(expected) < most and not any(near(place, other, reach) for other in [*labeled, *expected]):
            expected.append(place)
    assert found == expected


def test_the_last_round_goes_to_the_highest_or_to_the_first():
    queues, utility = [[0, 1], [2, 3], [4, 5]], np.array([9.0, 1, 8, 3, 7, 2])
    assert round_robin(queues, 5, utility) == [0, 2, 4, 3, 5] and round_robin(queues, 5, None) == [0, 2, 4, 1, 3]
    assert round_robin([], 3, utility) == [] and round_robin([[], [1]], 3, utility) == [1]


@given(st.integers(0, 40), st.floats(0, 1.5), st.integers(0, 30))
def test_distinct_against_a_loop(seed, distance, most):
    draw = torch.Generator().manual_seed(seed)
    features, taken = torch.rand(30, 2, generator=draw), torch.rand(3, 2, generator=draw)
    order = torch.randperm(30, generator=draw)
    found = greedy_distinct(order, features, taken, distance, most)
    chosen, passed = [], []
    for place in order.tolist():
        there = torch.cat([taken, features[chosen]])
        if bool((torch.cdist(features[place : place + 1], there) >= distance).all()):
            chosen += [place] if len(chosen) < most else []
        else:
            passed.append(place)
    expected = chosen[:most] + passed[: most - len(chosen)]
    assert found.chosen.tolist() == expected and found.num_near == len(expected) - len(chosen[:most])


def test_distinct_looks_across_blocks(monkeypatch):
    monkeypatch.setattr("alpl.selection.spacing._BLOCK", 2)
    features = torch.tensor([[0.0], [5.0], [0.1], [5.1], [9.0]])
    found = greedy_distinct(torch.arange(5), features, torch.zeros(0, 1), 1.0, 3)
    assert found.chosen.tolist() == [0, 1, 4] and found.num_near == 0
