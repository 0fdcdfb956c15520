"""k-center over objects against loops over images, objects and centers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alpl.acquisition import Context, ObjectKCenter
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Predictions
from alpl.selection.object_kcenter import object_kcenter


def slow(images, centers, budget):
    """Lists of points of each image, on a line."""
    centers, left, picks, distances = list(centers), list(range(len(images))), [], []
    for _ in range(budget):
        values = {
            u: max((min((abs(x - c) for c in centers), default=float("inf")) for x in images[u]), default=-1.0)
            for u in left
        }
        pick = max(left, key=lambda u: (values[u], -u))
        picks.append(pick)
        distances.append(values[pick] if 0 <= values[pick] < float("inf") else 0.0)
        left.remove(pick)
        centers += images[pick]
    return picks, distances


def fast(images, centers, budget, **options):
    points = torch.tensor([x for objects in images for x in objects]).float().view(-1, 1)
    row = torch.tensor([u for u, objects in enumerate(images) for _ in objects], dtype=torch.long)
    picks, distances = object_kcenter(
        points, row, len(images), torch.tensor(list(centers)).float().view(-1, 1), budget, **options
    )
    return picks.tolist(), distances.tolist()


def test_the_hand_case() -> None:
    """B's object is 5 from the labeled one, and 4 from both of A's after A was picked."""
    assert fast([[1, 9], [5]], [0], 2) == ([0, 1], [9.0, 4.0])


@settings(max_examples=60)
@given(
    images=st.lists(st.lists(st.integers(-9, 9), max_size=3), min_size=1, max_size=6),
    centers=st.lists(st.integers(-9, 9), max_size=3),
    data=st.data(),
)
def test_picks_are_those_of_the_loops(images, centers, data) -> None:
    budget = data.draw(st.integers(0, len(images)))
    expected = slow(images, centers, budget)
    assert fast(images, centers, budget) == expected
    assert fast(images, centers, budget, memory_limit=64) == expected  # a few rows at a time


@pytest.mark.parametrize(
    ("features", "centers", "budget", "message"),
    [
        (torch.zeros(1, 2), torch.zeros(1, 2), 3, r"budget must be in \[0, 2\]"),
        (torch.zeros(1, 2), torch.zeros(1, 3), 1, "must be as wide"),
        (torch.full((1, 2), torch.nan), torch.zeros(1, 2), 1, "must be finite"),
    ],
)
def test_bad_arguments_are_named(features, centers, budget, message) -> None:
    with pytest.raises(ValueError, match=message):
        object_kcenter(features, torch.zeros(1, dtype=torch.long), 2, centers, budget)


def test_objects_below_the_threshold_are_nobody() -> None:
    pool = Pool.create(4, torch.tensor([0]))
    seen = Predictions(
        pool.unlabeled, torch.tensor([0, 1, 1]), features=torch.tensor([[2.0], [9.0], [1.0]]),
        scores=torch.tensor([0.9, 0.01, 0.9]),
    )  # fmt: skip
    known = Predictions(
        pool.labeled, torch.tensor([0, 0]), features=torch.tensor([[0.0], [2.0]]), scores=torch.tensor([0.9, 0.01])
    )
    context = Context(pool, 3, 0, unlabeled=seen, labeled=known)
    query = ObjectKCenter(0.05).select(context)
    assert query.index.tolist() == [1, 2, 3] and query.utility.tolist() == [2.0, 1.0, 0.0]
    assert ObjectKCenter(0.0).select(context).index.tolist() == [2, 1, 3]
    with pytest.raises(ConfigError, match="score_thresh"):
        ObjectKCenter(1.5)
