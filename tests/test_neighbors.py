import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.neighbors import kcenter_greedy, squared_distance_to_nearest


def _exact(features, centers, budget):
    """Sener and Savarese 2018, Algorithm 1, as it is written: all distances in float64, first index on ties."""
    features, chosen = features.double(), [center.double() for center in centers]
    picks, distances = [], []
    for _ in range(budget):
        best, farthest = None, -1.0
        for i in range(len(features)):
            if i in picks:
                continue
            nearest = min((float((features[i] - c).square().sum()) for c in chosen), default=float("inf"))
            if nearest > farthest:
                best, farthest = i, nearest
        picks.append(best)
        distances.append(farthest**0.5 if chosen else 0.0)
        chosen.append(features[best])
    return picks, distances


def _radius(features, centers, picks):
    """The k-center objective: the largest distance of a candidate to its nearest center or pick."""
    covered = torch.cat([centers, features[picks]]).double()
    return float(torch.cdist(features.double(), covered, compute_mode="donot_use_mm_for_euclid_dist").amin(1).max())


@st.composite
def grids(draw):
    """Give points on a small grid, whose distances float32 holds exactly: many duplicates, many ties."""
    num_candidates, num_centers = draw(st.integers(0, 15)), draw(st.integers(0, 4))
    width, side = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    points = torch.randint(-side, side + 1, (num_candidates + num_centers, width), generator=random).float()
    return points[:num_candidates], points[num_candidates:], draw(st.integers(0, num_candidates))


@given(grids())
def test_picks_are_those_of_the_obvious_loop(grid):
    picks, distances = kcenter_greedy(*grid)
    expected_picks, expected_distances = _exact(*grid)
    assert picks.tolist() == expected_picks
    assert distances.tolist() == pytest.approx(expected_distances, abs=1e-6)


def test_picks_of_network_like_features():
    random = torch.Generator().manual_seed(0)
    features, centers = (3 * torch.rand(n, 64, generator=random) for n in (80, 15))
    picks, distances = kcenter_greedy(features, centers, 25)
    expected_picks, expected_distances = _exact(features, centers, 25)
    assert picks.tolist() == expected_picks
    assert distances.tolist() == pytest.approx(expected_distances, rel=1e-5)


def test_by_hand():
    features = torch.tensor([[0.0, 1.0], [3.0, 4.0], [6.0, 8.0], [6.0, 7.0]])
    picks, distances = kcenter_greedy(features, torch.zeros(1, 2), 4)
    # 10 to image 2; then image 1 is 5 from both the center and image 2; then images 0 and 3 tie at 1
    assert picks.tolist() == [2, 1, 0, 3] and distances.tolist() == [10.0, 5.0, 1.0, 1.0]


@given(grids())
def test_it_is_a_farthest_first_traversal(grid):
    features, centers, budget = grid
    picks, distances = kcenter_greedy(features, centers, budget)
    assert picks.unique().numel() == budget and picks.dtype == torch.long
    later = distances if len(centers) else distances[1:]
    assert (later.diff() <= 0).all(), "a pick is never farther than the one before it"
    if 0 < budget < len(features) and (len(centers) or budget > 1):
        assert _radius(features, centers, picks) <= float(later[-1]) + 1e-6


@given(grids())
def test_a_larger_budget_goes_on_from_a_smaller_one(grid):
    features, centers, budget = grid
    picks, _ = kcenter_greedy(features, centers, len(features))
    assert picks[:budget].tolist() == kcenter_greedy(features, centers, budget)[0].tolist()


def test_without_centers_the_first_pick_is_the_first_image():
    picks, distances = kcenter_greedy(torch.tensor([[1.0], [7.0], [2.0]]), torch.zeros(0, 1), 3)
    assert picks.tolist() == [0, 1, 2] and distances.tolist() == [0.0, 6.0, 1.0]


@pytest.mark.parametrize("num_centers", [0, 2])
def test_equal_points_are_picked_in_order_and_once(num_centers):
    picks, distances = kcenter_greedy(torch.full((5, 3), 2.0), torch.full((num_centers, 3), 2.0), 5)
    assert picks.tolist() == [0, 1, 2, 3, 4] and distances.tolist() == [0.0] * 5


def test_no_budget_picks_nothing():
    for number in (0, 4):
        picks, distances = kcenter_greedy(torch.zeros(number, 2), torch.zeros(3, 2), 0)
        assert (picks.shape, distances.shape, picks.dtype) == ((0,), (0,), torch.long)


def test_the_inputs_are_left_alone():
    features, centers = torch.rand(6, 2), torch.rand(2, 2)
    copies = features.clone(), centers.clone()
    kcenter_greedy(features, centers, 3)
    assert torch.equal(features, copies[0]) and torch.equal(centers, copies[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int32])
def test_every_number_type_is_taken(dtype):
    features, centers = torch.tensor([[1], [9], [4]]).to(dtype), torch.tensor([[2]]).to(dtype)
    picks, distances = kcenter_greedy(features, centers, 2)
    assert picks.tolist() == [1, 2] and distances.tolist() == [7.0, 2.0] and distances.dtype == torch.float32


@pytest.mark.parametrize(
    ("features", "centers", "budget", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(1, 2), 4, "budget must be in [0, 3] candidates, got 4"),
        (torch.zeros(3, 2), torch.zeros(1, 2), -1, "budget must be in [0, 3] candidates, got -1"),
        (torch.zeros(3, 2), torch.zeros(1, 3), 1, "must be [U F] and [L F], got [3, 2] and [1, 3]"),
        (torch.zeros(3), torch.zeros(1), 1, "must be [U F] and [L F], got [3] and [1]"),
        (torch.tensor([[0.0], [float("nan")]]), torch.zeros(1, 1), 1, "must be finite"),
        (torch.zeros(2, 1), torch.tensor([[float("inf")]]), 1, "must be finite"),
    ],
)
def test_what_cannot_be_picked_from_is_an_error(features, centers, budget, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        kcenter_greedy(features, centers, budget)


@pytest.mark.parametrize("block", [1, 3, 7, 4096])
def test_distances_do_not_depend_on_the_blocks(block):
    random = torch.Generator().manual_seed(1)
    features, centers = (torch.randint(-9, 9, (n, 3), generator=random).float() for n in (10, 7))
    expected = [min(float((f - c).square().sum()) for c in centers) for f in features]
    assert squared_distance_to_nearest(features, centers, block=block).tolist() == expected


def test_no_center_is_infinitely_far():
    assert squared_distance_to_nearest(torch.zeros(3, 2), torch.zeros(0, 2)).tolist() == [float("inf")] * 3


# --- numbers that |x|^2 + |y|^2 - 2 x y does not hold in float32


def _clusters(spread, offsets, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.cat([offset + spread * torch.randn(60, 8, generator=random) for offset in offsets])


# float32 Gram distances of points around 1e3 that are 1e-2 apart would be all noise: with these points not one of the
# first picks would be right.
@pytest.mark.parametrize("offsets", [(1000.0,), (-1000.0, 1000.0)])
@pytest.mark.parametrize("spread", [1.0, 1e-1, 1e-2])
def test_a_large_offset_does_not_drown_the_distances(offsets, spread):
    points = _clusters(spread, offsets)
    features, centers = points[5:], points[:5]
    picks, distances = kcenter_greedy(features, centers, 20)
    expected_picks, expected_distances = _exact(features, centers, 20)
    assert _radius(features, centers, picks) == pytest.approx(_radius(features, centers, expected_picks), rel=1e-3)
    assert distances.tolist() == pytest.approx(expected_distances, rel=1e-3)


# The same cancellation would give duplicates a distance of 0.03 to 0.04 instead of 0 at the scale of ResNet features.
def test_duplicates_are_at_distance_zero():
    points = 5 * torch.rand(30, 512, generator=torch.Generator().manual_seed(0))
    picks, distances = kcenter_greedy(points.repeat(2, 1), torch.zeros(0, 512), 40)
    assert sorted((picks[:30] % 30).tolist()) == list(range(30))
    assert distances[30:].tolist() == [0.0] * 10


# Finite features whose squares are not finite in float32 are an error, not infinite and NaN distances.
@pytest.mark.parametrize("scale", [1e20, 1e200])
def test_huge_features_are_an_error_or_right(scale):
    features = scale * torch.tensor([[1.0], [3.0], [-1.0]], dtype=torch.float64)
    try:
        picks, distances = kcenter_greedy(features, torch.zeros(1, 1, dtype=torch.float64), 2)
    except ValueError:
        return
    assert picks.tolist() == [1, 2] and distances.isfinite().all()
