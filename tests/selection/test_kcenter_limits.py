"""k-center greedy: short number types, no candidates, and the memory that it takes."""

import pytest
import torch
from forked import Forked
from hypothesis import given
from hypothesis import strategies as st
from memory_peak import STATUS
from selection_references import cosine_distances, kcenter, squared_distances

from alpl.selection.kcenter import kcenter_greedy, kcenter_greedy_by

MIB = 2**20


@st.composite
def short_points(draw):
    """Points of a short type, on a coarse grid or in general position: rounding makes ties and duplicates."""
    number, num_centers, width = draw(st.integers(0, 25)), draw(st.integers(0, 5)), draw(st.integers(1, 9))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    points = torch.randn(number + num_centers, width, generator=random) * draw(st.sampled_from([0.5, 3.0, 300.0]))
    points = (points.round() if draw(st.booleans()) else points) + 0.25  # directions, for the cosine
    points = points.to(draw(st.sampled_from([torch.float16, torch.bfloat16])))
    return points[:number], points[number:], draw(st.integers(0, number))


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("metric", "distances_to"), [("euclidean", squared_distances), ("cosine", cosine_distances)], ids=["l2", "cosine"]
)
@given(given_points=short_points())
def test_short_number_types_are_read_exactly(metric, distances_to, given_points):
    features, centers, budget = given_points
    picks, distances = kcenter_greedy(features, centers, budget, metric=metric)
    wide = kcenter_greedy(features.float(), centers.float(), budget, metric=metric)
    assert torch.equal(picks, wide[0]) and torch.equal(distances, wide[1])
    assert picks.tolist() == kcenter(features.float(), centers.float(), budget, distances_to)[0]


def test_float64_is_rounded_to_float32():
    # apart in float64, one point in float32: a tie, of which the first index is taken
    features = torch.tensor([[1.0], [1.0 + 1e-12]], dtype=torch.float64)
    picks, distances = kcenter_greedy(features, torch.zeros(1, 1, dtype=torch.float64), 2)
    assert picks.tolist() == [0, 1] and distances.tolist() == [1.0, 0.0]


def test_candidates_and_centers_of_different_types():
    picks, distances = kcenter_greedy(torch.tensor([[0.5], [2.0]]).half(), torch.tensor([[0.1]]), 1)
    assert picks.tolist() == [1] and distances.tolist() == [pytest.approx(1.9, rel=1e-6)]


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "symmetric_kl"])
@pytest.mark.parametrize("num_centers", [0, 3])
def test_no_candidates(metric, num_centers):
    centers = torch.full((num_centers, 4), 0.25)
    picks, distances = kcenter_greedy(torch.zeros(0, 4), centers, 0, metric=metric)
    assert picks.shape == (0,) and distances.shape == (0,)
    with pytest.raises(ValueError, match=r"budget must be in \[0, 0\] candidates, got 1"):
        kcenter_greedy(torch.zeros(0, 4), centers, 1, metric=metric)


@pytest.mark.parametrize("num_centers", [0, 3])
def test_no_candidates_by_a_function(num_centers):
    picks, _ = kcenter_greedy_by(lambda rows, columns: torch.zeros(len(rows), len(columns)), 0, num_centers, 0)
    assert picks.shape == (0,)


def test_no_gradient_is_kept():
    features = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    picks, distances = kcenter_greedy(features, features[:2], 4)
    assert not distances.requires_grad
    assert picks.tolist() == kcenter_greedy(features.detach(), features[:2].detach(), 4)[0].tolist()


def test_a_limit_that_holds_no_block_is_an_error():
    with pytest.raises(ValueError, match=r"memory_limit must be at least 2304 bytes here, got 2303"):
        kcenter_greedy(torch.rand(5, 8), torch.rand(2, 8), 1, memory_limit=2303)


_MEASURE = """
import torch
from alpl.selection.kcenter import kcenter_greedy
from memory_peak import peak_of
draw = torch.Generator().manual_seed(0)
for case in ("euclidean float32", "euclidean float16", "cosine float32", "symmetric_kl float32"):
    metric, dtype = case.split()
    points = torch.randn(20_000, 256, generator=draw)
    points = (points.softmax(1) if metric == "symmetric_kl" else points).to(getattr(torch, dtype))
    features, centers = points[4000:], points[:4000]
    kcenter_greedy(features[:3000], centers[:500], 50, metric=metric, memory_limit=2**22)  # loads code
    print(case, peak_of(lambda: kcenter_greedy(features, centers, 100, metric=metric, memory_limit=2**22)))
"""


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="needs Linux's record of a process")
def test_the_memory_limit_is_kept():
    process = Forked("-c", _MEASURE)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    found = {tuple(line.split()[:2]): int(line.split()[2]) for line in out.splitlines()}
    assert len(found) == 4
    stated = 4 * MIB + 40 * 20_000 + MIB  # the last: the interpreter, which takes 1 MiB at a time
    for (metric, dtype), peak in found.items():
        held = 4 * 256 * 20_000 if metric == "symmetric_kl" else 0
        assert peak < stated + held, f"{metric}, {dtype}: {peak / MIB:.2f} MiB"
