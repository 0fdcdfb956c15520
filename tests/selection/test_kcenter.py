import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from selection_references import cosine_distances, kcenter, squared_distances, summed, symmetric_kl

from alpl.errors import ConfigError
from alpl.selection import neighbors
from alpl.selection.exact_sum import tree_sum
from alpl.selection.kcenter import kcenter_greedy, kcenter_greedy_by


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
    assert picks.tolist() == [1, 2] and distances.tolist() == [7.0, 2.0] and distances.dtype == torch.float64


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


# --- numbers that |x|^2 + |y|^2 - 2 x y does not hold in float32


def _clusters(spread, offsets, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.cat([offset + spread * torch.randn(60, 8, generator=random) for offset in offsets])


# float32 Gram distances of points around 1e3 that are 1e-2 apart would be all noise: with these points not one of the
# first picks would be right.
@pytest.mark.sample(2)
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


# --- against the loop, bit for bit, where many picks are proved at once


def _points(random, metric, number, width):
    kind = int(torch.randint(4, (1,), generator=random))
    if metric == "symmetric_kl":
        logits = torch.randn(number, width, generator=random) * 10.0 ** (kind - 1)
        return (logits.round() if kind == 0 else logits).softmax(1)
    if kind == 0:  # a grid: ties and duplicates
        points = torch.randint(-2, 3, (number, width), generator=random).float()
    elif kind == 1:  # far from the origin: float32 products are all noise
        points = 1000 + 1e-2 * torch.randn(number, width, generator=random)
    elif kind == 2:  # two clusters far from their mean: products of centered features are noise too
        points = 1e-3 * torch.randn(number, width, generator=random)
        points += 100.0 * torch.randint(-1, 2, (number, 1), generator=random)
    else:
        points = torch.randn(number, width, generator=random)
    points[points.square().sum(1) == 0] += 1  # directions, for the cosine
    return points


DISTANCES = {"euclidean": squared_distances, "cosine": cosine_distances, "symmetric_kl": symmetric_kl}
FAISS = [(metric, "faiss") for metric in ("euclidean", "cosine")]


@pytest.mark.parametrize("metric, backend", FAISS)
@pytest.mark.parametrize("limit", [2**19, 2**25])
def test_faiss_bounds_and_the_picks_are_the_same(metric, backend, limit, caplog):
    pytest.importorskip("faiss")
    caplog.set_level("INFO")
    random = torch.Generator().manual_seed(1)
    for middle in (0.0, 1000.0):  # far from the origin float32 tells the near ones apart no more
        points = torch.randn(900, 10, generator=random).half().float() + middle
        features, centers = points[:600], points[600:]
        by_torch = kcenter_greedy(features, centers, 60, metric=metric, memory_limit=limit, backend="torch")
        assert not caplog.records
        by_faiss = kcenter_greedy(features, centers, 60, metric=metric, memory_limit=limit, backend=backend)
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(by_torch, by_faiss, strict=True))
        assert "by faiss, backend faiss, 10 features" in caplog.text
        caplog.clear()


def test_auto_asks_faiss_where_centers_are_more_than_features(caplog):
    pytest.importorskip("faiss")
    caplog.set_level("INFO")
    points = torch.randn(400, 10, generator=torch.Generator().manual_seed(0))
    kcenter_greedy(points[5:], points[:5], 3)
    assert not caplog.records
    kcenter_greedy(points[200:], points[:200], 3)
    assert "nearest of 100 centers by faiss, backend auto" in caplog.text


def test_what_a_backend_must_be(monkeypatch):
    points = torch.rand(5, 2)
    with pytest.raises(ConfigError, match="backend must be one of auto, torch, faiss, got 'numpy'"):
        kcenter_greedy(points, points, 1, backend="numpy")
    monkeypatch.setattr(neighbors, "faiss", None)
    with pytest.raises(ConfigError, match=r"backend faiss needs faiss on cpu, which is not installed: .*pip install"):
        kcenter_greedy(points, points, 1, backend="faiss")
    assert kcenter_greedy(points, points, 1)[0].tolist() == [0]


@pytest.mark.slow
@pytest.mark.parametrize("metric, backend", [*((metric, "torch") for metric in DISTANCES), FAISS[0]])
def test_a_thousand_random_cases(metric, backend):
    random = torch.Generator().manual_seed(0)
    for case in range(1000):
        width = int(torch.randint(1, 7, (1,), generator=random))
        number = int(torch.randint(0, 30 if case % 5 == 0 else 10, (1,), generator=random))
        num_centers = int(torch.randint(0, 6, (1,), generator=random))
        budget = (0, 1, number)[case % 3] if number and case % 4 == 0 else number // 2
        points = _points(random, metric, number + num_centers, width)
        features, centers = points[:number], points[number:]
        # the least memory: blocks of few rows and columns, groups of few members
        limit = 2**20 if case % 2 else 256 * (2 * width + 1)
        picks, distances = kcenter_greedy(features, centers, budget, metric=metric, memory_limit=limit, backend=backend)
        expected_picks, expected = kcenter(features, centers, budget, DISTANCES[metric])
        assert picks.tolist() == expected_picks, case
        expected = torch.tensor(expected, dtype=torch.float64)
        assert torch.equal(distances, expected.sqrt() if metric == "euclidean" else expected), case


@pytest.mark.sample(6)
@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize("kind", ["spread", "clusters", "duplicates"])
@pytest.mark.parametrize("num_centers", [0, 300, pytest.param(1500, marks=pytest.mark.slow)])
def test_many_candidates(metric, kind, num_centers):
    random = torch.Generator().manual_seed(1)
    points = torch.randn(3000 + num_centers, 10, generator=random)
    if kind == "clusters":
        middles = torch.randn(20, 10, generator=random)
        points = 0.05 * points + middles[torch.randint(20, (len(points),), generator=random)]
    elif kind == "duplicates":
        points = points[torch.randint(200, (len(points),), generator=random)]
    points = points.softmax(1) if metric == "symmetric_kl" else points
    features, centers = points[:3000], points[3000:]
    picks, _ = kcenter_greedy(features, centers, 400, metric=metric, memory_limit=2**19)
    assert picks.tolist() == kcenter(features, centers, 400, DISTANCES[metric])[0]


@pytest.mark.slow
def test_distances_that_a_function_gives():
    random = torch.Generator().manual_seed(2)
    for case in range(1000):
        number, num_centers = (int(torch.randint(low, 25, (1,), generator=random)) for low in (1, 0))
        pairs = torch.randint(0, 5 if case % 2 else 1000, (number + num_centers,) * 2, generator=random).float()
        pairs = torch.maximum(pairs, pairs.T).fill_diagonal_(0)
        budget = (1, number, number // 2)[case % 3]

        def block(rows, columns, pairs=pairs, number=number):
            assert (rows < number).all()
            return pairs[rows[:, None], columns]

        limit = 24 if case % 2 else 2**16
        picks, distances = kcenter_greedy_by(block, number, num_centers, budget, memory_limit=16 * 64 * limit)
        places = torch.arange(number + num_centers)[:, None]
        expected = kcenter(
            places[:number], places[number:], budget, lambda rows, one, pairs=pairs: pairs[rows[:, 0], one[0]].double()
        )
        assert (picks.tolist(), distances.tolist()) == expected, case


@pytest.mark.parametrize("wrong", [-1.0, float("nan")])
def test_a_function_that_gives_no_distances_is_an_error(wrong):
    with pytest.raises(ValueError, match="distance must not be negative or NaN"):
        kcenter_greedy_by(lambda rows, columns: torch.full((len(rows), len(columns)), wrong), 3, 1, 2)
    with pytest.raises(ValueError, match=re.escape("distance must give [3 1], got [3]")):
        kcenter_greedy_by(lambda rows, columns: torch.zeros(len(rows)), 3, 1, 2)


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_shortened_products_do_not_change_the_picks(precision):
    random = torch.Generator().manual_seed(3)
    features, centers = torch.randn(500, 64, generator=random), torch.randn(50, 64, generator=random)
    expected = kcenter_greedy(features, centers, 100)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        picks, distances = kcenter_greedy(features, centers, 100)
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(picks, expected[0]) and torch.equal(distances, expected[1])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("metric", DISTANCES)
def test_a_gpu_picks_the_same(metric):
    random = torch.Generator().manual_seed(4)
    points = torch.randn(5000, 32, generator=random)
    points = points.softmax(1) if metric == "symmetric_kl" else points
    here = kcenter_greedy(points[500:], points[:500], 600, metric=metric)
    there = kcenter_greedy(points[500:].cuda(), points[:500].cuda(), 600, metric=metric)
    assert torch.equal(here[0], there[0].cpu()) and torch.equal(here[1], there[1].cpu())


def test_threads_do_not_change_the_picks():
    random = torch.Generator().manual_seed(5)
    features, centers = torch.randn(2000, 33, generator=random), torch.randn(100, 33, generator=random)
    threads = torch.get_num_threads()
    found = []
    for number in (1, 2):
        torch.set_num_threads(number)
        found.append(kcenter_greedy(features, centers, 300))
    torch.set_num_threads(threads)
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


def test_the_order_of_summation():
    values = torch.tensor([[1.0, 1e16, -1e16, 3.0, 2.0]], dtype=torch.float64)
    # halves of 5: (1 + 3), (1e16 + 2), -1e16; then (4 - 1e16), 1e16 + 2; then their sum
    assert tree_sum(values.clone()).tolist() == [(4 - 1e16) + (1e16 + 2)]
    random = torch.randn(9, 37, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    assert torch.equal(tree_sum(random.clone()), summed(random))
    assert tree_sum(torch.empty(2, 0, dtype=torch.float64)).tolist() == [0.0, 0.0]


def test_tiny_features_are_told_apart():
    features = 1e-25 * torch.tensor([[1.0], [3.0], [-4.0]])
    picks, distances = kcenter_greedy(features, torch.zeros(1, 1), 3)
    assert picks.tolist() == [2, 1, 0] and distances.tolist() == pytest.approx([4e-25, 3e-25, 1e-25], rel=1e-6)


def test_features_without_columns_are_all_equal():
    assert kcenter_greedy(torch.zeros(3, 0), torch.zeros(1, 0), 3)[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "manhattan"}, "metric must be one of euclidean, cosine, symmetric_kl, got 'manhattan'"),
        ({"metric": "cosine"}, "features must not be zero for cosine distances, got 1 zero vectors"),
        ({"metric": "symmetric_kl"}, "must hold rows of probabilities that sum to 1, got a row that sums to 0.0"),
        ({"memory_limit": 700}, "memory_limit must be at least 768 bytes here, got 700"),
    ],
)
def test_settings_that_cannot_work(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        kcenter_greedy(torch.tensor([[0.0, 0.0], [1.0, 2.0]]), torch.ones(1, 2), 1, **arguments)


def test_distributions_may_be_rounded_to_their_type_and_no_more():
    rounded = torch.tensor([[0.9975, 0.0025], [0.5, 0.5]], dtype=torch.bfloat16)  # the first sums to 0.9986
    assert kcenter_greedy(rounded, rounded[:0], 2, metric="symmetric_kl")[0].tolist() == [0, 1]
    for number, dtype in ((10, torch.bfloat16), (1000, torch.bfloat16), (1000, torch.float16)):
        probs = torch.randn(200, number, generator=torch.Generator().manual_seed(0)).softmax(1).to(dtype)
        assert len(kcenter_greedy(probs, probs[:1], 3, metric="symmetric_kl")[0]) == 3
    with pytest.raises(ValueError, match=r"sum to 1, got a row that sums to 0\.9985"):
        kcenter_greedy(rounded.float(), torch.zeros(0, 2), 2, metric="symmetric_kl")
    with pytest.raises(ValueError, match=r"sum to 1, got a row that sums to 1\.015"):
        kcenter_greedy(torch.tensor([[1.0, 0.0156]]).bfloat16(), rounded[:0], 1, metric="symmetric_kl")
    with pytest.raises(ValueError, match=r"sum to 1, got a probability of -0\.5"):
        kcenter_greedy(torch.tensor([[1.5, -0.5]]), torch.zeros(0, 2), 1, metric="symmetric_kl")


def test_how_right_the_distances_of_near_distributions_are():
    random = torch.Generator().manual_seed(0)
    probs = (2 * torch.randn(200, 10, generator=random)).softmax(1)
    near = (probs.log() + 1e-3 * torch.randn(200, 10, generator=random)).softmax(1)
    for first, second in zip(probs.split(1), near.split(1), strict=True):
        p, q = first.double(), second.double()
        expected = float(0.5 * ((p - q) * (p.log() - q.log())).sum())
        found = float(kcenter_greedy(first, second, 1, metric="symmetric_kl")[1])
        assert abs(found - expected) < 1e-7 * math.sqrt(expected)  # 2e-4 of a distance of 2e-7
