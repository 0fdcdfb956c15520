import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.predictions.reduce import reduce_instances

VALUES = st.lists(st.tuples(st.integers(0, 5), st.floats(-1e3, 1e3)), max_size=30)


def _by_loops(pairs, num_images, how, empty):
    reduced = []
    for image in range(num_images):
        values = [value for row, value in pairs if row == image]
        of = {"max": max, "sum": math.fsum, "mean": lambda v: math.fsum(v) / len(v)}[how]
        reduced.append(of(values) if values else empty)
    return reduced


def _tensors(pairs, dtype=torch.float64):
    return torch.tensor([v for _, v in pairs], dtype=dtype), torch.tensor([r for r, _ in pairs], dtype=torch.long)


@given(VALUES, st.integers(6, 9), st.sampled_from(["max", "mean", "sum"]), st.floats(-1e3, 1e3))
def test_it_is_the_loop_over_images(pairs, num_images, how, empty):
    reduced = reduce_instances(*_tensors(pairs), num_images, how, empty)
    assert reduced.tolist() == pytest.approx(_by_loops(pairs, num_images, how, empty), abs=1e-9)
    assert reduced.dtype == torch.float64


def test_by_hand():
    values, row = torch.tensor([-3.0, -1.0, -5.0]), torch.tensor([0, 0, 2])
    for how, expected in [("max", [-1.0, 9.0, -5.0]), ("mean", [-2.0, 9.0, -5.0]), ("sum", [-4.0, 9.0, -5.0])]:
        reduced = reduce_instances(values, row, 3, how, empty=9.0)  # 9 is in no other image's value
        assert reduced.tolist() == expected and reduced.dtype == torch.float32


@pytest.mark.parametrize("how", ["max", "mean", "sum"])
def test_without_instances_or_images(how):
    none = torch.zeros(0), torch.zeros(0, dtype=torch.long)
    assert reduce_instances(*none, 2, how, empty=0.5).tolist() == [0.5, 0.5]
    assert reduce_instances(*none, 0, how, empty=0.5).shape == (0,)


@pytest.mark.parametrize("how", ["max", "mean", "sum"])
def test_nan_is_not_hidden(how):
    reduced = reduce_instances(torch.tensor([1.0, math.nan, 2.0]), torch.tensor([0, 0, 1]), 2, how, empty=0.0)
    assert reduced.isnan().tolist() == [True, False]


@pytest.mark.parametrize(
    ("values", "row", "how", "message"),
    [
        (torch.zeros(2), [0, 1], "median", "reduction must be one of max, mean, sum, got 'median'"),
        (torch.zeros(2, 1), [0, 1], "max", r"values must be Float\[I\], got torch.float32 of shape \[2, 1\]"),
        (torch.zeros(2).long(), [0, 1], "mean", r"values must be Float\[I\], got torch.int64"),
        (torch.zeros(2), [0], "max", r"row must be Long\[2\], one image a value, got shape \[1\]"),
        (torch.zeros(2), [0, 3], "max", r"row must lie in \[0, 3\), got 0 to 3"),
        (torch.zeros(2), [-1, 0], "max", r"row must lie in \[0, 3\), got -1 to 0"),
    ],
)
def test_what_cannot_be_reduced_is_an_error(values, row, how, message):
    with pytest.raises(ValueError, match=message):
        reduce_instances(values, torch.tensor(row), 3, how, empty=0.0)
