import re

import pytest
import torch
from selection_references import nearest_of_each_cluster
from sklearn.cluster import KMeans, kmeans_plusplus

from alpl.selection import dbal, neighbors
from alpl.selection.dbal import diverse_mini_batch
from alpl.selection.neighbors import nearest_center, weighted_kmeans


def _expected(features, informativeness, budget, prefilter, centers_of):
    """Zhdanov 2019, Algorithm 1, in lists."""
    ranked = sorted(range(len(features)), key=lambda i: (-float(informativeness[i]), i))
    kept = sorted(ranked[: -int(-prefilter * budget // 1)])
    picks = kept
    if len(kept) > budget:
        picks = [kept[i] for i in nearest_of_each_cluster(features[kept], centers_of[0])]
        picks += [i for i in ranked if i in kept and i not in picks][: budget - len(picks)]
    return [i for i in ranked if i in picks]


def test_a_thousand_random_cases(monkeypatch):
    """Everything but k-means, whose centers both versions get."""
    random, centers_of = torch.Generator().manual_seed(0), [None]

    def some_centers(features, weights, num_clusters, *, seed, iterations):
        chosen = torch.randint(len(features), (num_clusters,), generator=random)
        centers_of[0] = features[chosen] + (0.0 if seed % 2 else 0.25)  # often equal: empty clusters and ties
        assert (weights > 0).all() and len(weights) == len(features)
        return centers_of[0]

    monkeypatch.setattr(dbal, "weighted_kmeans", some_centers)
    for case in range(1000):
        number = int(torch.randint(1, 25, (1,), generator=random))
        features = torch.randint(-2, 3, (number, 2), generator=random).float()
        informativeness = torch.randint(0, 5, (number,), generator=random).float() / 4
        budget, prefilter = (1, number, (number + 1) // 3)[case % 3], (1.0, 1.5, 3.0, float("inf"))[case % 4]
        picks = diverse_mini_batch(features, informativeness, budget, prefilter=prefilter, seed=case)
        assert picks.unique().numel() == budget
        limited = min(prefilter, number)
        assert picks.tolist() == _expected(features, informativeness, budget, limited, centers_of), case


def test_by_hand():
    # three clear clusters; in each the point nearest to the weighted mean is taken, most informative first
    features = torch.tensor([[0.0], [1.0], [0.2], [10.0], [11.0], [30.0]])
    informativeness = torch.tensor([0.9, 0.1, 0.1, 0.5, 0.6, 0.2])
    picks = diverse_mini_batch(features, informativeness, 3, prefilter=2.0, seed=0)
    # means: (0 * 0.9 + 1 * 0.1 + 0.2 * 0.1) / 1.1 = 0.11 -> 0.2; (5 + 6.6) / 1.1 = 10.55 -> 11; 30
    assert sorted(picks.tolist()) == [2, 4, 5] and picks.tolist() == [4, 5, 2]


def test_weights_move_the_centers():
    points = torch.tensor([[0.0], [1.0], [100.0], [101.0]])
    centers = weighted_kmeans(points, torch.tensor([3.0, 1.0, 1.0, 1.0]), 2, seed=0)
    assert sorted(centers.flatten().tolist()) == pytest.approx([0.25, 100.5])


def _cost(points, weights, centers):
    return float((weights * nearest_center(points, centers)[1]).sum())


@pytest.mark.parametrize("number, width, num_clusters", [(400, 8, 20), (500, 10, 50), (1000, 64, 100)])
def test_k_means_is_as_good_as_scikit_learns(number, width, num_clusters):
    random = torch.Generator().manual_seed(1)
    for seed in range(3):
        points, weights = torch.randn(number, width, generator=random), torch.rand(number, generator=random)
        reference = KMeans(num_clusters, n_init=1, random_state=seed).fit(points.numpy(), sample_weight=weights.numpy())
        expected = _cost(points, weights, torch.from_numpy(reference.cluster_centers_))
        assert _cost(points, weights, weighted_kmeans(points, weights, num_clusters, seed=seed)) <= 1.005 * expected


def _lloyd(points, weights, centers, iterations):
    """Lloyd's algorithm as it is written: all distances and all means each time."""
    before = None
    for _ in range(iterations):
        cluster = (points[:, None] - centers).square().sum(2).argmin(1)
        if before is not None and torch.equal(cluster, before):
            break
        before = cluster
        for k in range(len(centers)):
            if (cluster == k).any():
                own = weights[cluster == k].double()
                centers[k] = ((points[cluster == k].double() * own[:, None]).sum(0) / own.sum()).float()
    return centers


@pytest.mark.parametrize("library", ["faiss", "torch"])
@pytest.mark.parametrize("iterations", [1, 2, 5, 100])
def test_k_means_is_lloyds_algorithm(monkeypatch, library, iterations):
    if library == "torch":
        monkeypatch.setattr(neighbors, "faiss", None)
    elif neighbors.faiss is None:
        pytest.skip("faiss is not installed")
    random = torch.Generator().manual_seed(2)
    for seed in range(20):
        points, weights = torch.randn(200, 3, generator=random), torch.rand(200, generator=random) + 0.01
        drawn = kmeans_plusplus(points.numpy(), 15, sample_weight=weights.double().numpy(), random_state=seed)[1]
        start = points[torch.from_numpy(drawn).long()]
        expected = _lloyd(points, weights, start.clone(), iterations)
        found = weighted_kmeans(points, weights, 15, seed=seed, iterations=iterations)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_the_start_is_drawn_by_weight():
    # one iteration on separate points, of which each center keeps its own: the heavy ones are mostly drawn
    points = torch.arange(100.0)[:, None]
    weights = torch.where(torch.arange(100) < 50, 1e-6, 1.0)
    drawn = [weighted_kmeans(points, weights, 5, seed=seed, iterations=0) for seed in range(50)]
    assert all((centers >= 50).all() and len(centers.unique()) == 5 for centers in drawn)
    assert len(torch.cat(drawn).unique()) > 30


def test_an_empty_cluster_gets_a_point_that_is_far_from_its_center():
    # duplicates are drawn twice: without help one of two equal centers stays empty
    points, weights = torch.tensor([[0.0]] * 50 + [[10.0], [11.0], [30.0]]), torch.ones(53)
    for seed in range(20):
        centers = weighted_kmeans(points, weights, 4, seed=seed)
        assert _cost(points, weights, centers) == 0 and sorted(centers.flatten().tolist()) == [0.0, 10.0, 11.0, 30.0]


@pytest.mark.parametrize("with_faiss", [True, False])
def test_two_runs_pick_the_same(monkeypatch, with_faiss):
    random = torch.Generator().manual_seed(3)
    features, informativeness = torch.randn(60, 3, generator=random), torch.rand(60, generator=random)
    monkeypatch.setattr(neighbors, "faiss", neighbors.faiss if with_faiss else None)
    picks = [diverse_mini_batch(features, informativeness, 6, prefilter=5, seed=3).tolist() for _ in range(2)]
    assert picks[0] == picks[1] and len(set(picks[0])) == 6


def test_equal_images_fill_the_query():
    picks = diverse_mini_batch(torch.ones(9, 4), torch.arange(9.0), 3, prefilter=2.0, seed=0)
    assert picks.tolist() == [8, 7, 3]  # one cluster: its first image of the six kept; then the most informative


@pytest.mark.parametrize("values", [0.0, 1.0])
def test_images_that_are_all_as_informative(values):
    features = torch.randn(40, 3, generator=torch.Generator().manual_seed(4))
    picks = diverse_mini_batch(features, torch.full((40,), values), 5, prefilter=4.0, seed=0)
    assert picks.unique().numel() == 5 and int(picks.max()) < 20, "the first 20 are kept"


def test_no_budget_picks_nothing():
    assert diverse_mini_batch(torch.zeros(0, 2), torch.zeros(0), 0, prefilter=10, seed=0).tolist() == []


@pytest.mark.parametrize("limit", [200, 1000, 2**20])
def test_the_nearest_center(limit):
    random = torch.Generator().manual_seed(5)
    for _ in range(50):
        points, centers = (torch.randint(-3, 4, (n, 2), generator=random).float() for n in (9, 4))
        index, squared = nearest_center(points, centers, memory_limit=limit)
        pairs = (points[:, None] - centers).square().sum(2)
        assert squared.tolist() == pairs.min(1).values.tolist()
        assert index.tolist() == [row.index(min(row)) for row in pairs.tolist()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": 4}, "budget must be in [0, 3] candidates, got 4"),
        ({"informativeness": torch.tensor([1.0, -1.0, 0.0])}, "informativeness must not be negative, got -1.0"),
        ({"informativeness": torch.zeros(2)}, "must be [U F] and [U], got [3, 1] and [2]"),
        ({"features": torch.full((3, 1), torch.inf)}, "features and centers must be finite"),
        ({"informativeness": torch.tensor([1.0, torch.nan, 0.0])}, "informativeness must be finite"),
        ({"features": torch.full((3, 1), 1e38)}, "features and centers must be below 1e18 / sqrt(F), got 9.99"),
        ({"prefilter": 0.5}, "prefilter and iterations must be at least 1, got 0.5 and 20"),
    ],
)
def test_what_cannot_be_picked_from_is_an_error(change, message):
    arguments = {"features": torch.zeros(3, 1), "informativeness": torch.zeros(3), "budget": 1, "prefilter": 1.0}
    with pytest.raises(ValueError, match=re.escape(message)):
        diverse_mini_batch(seed=0, **(arguments | change))


def test_the_largest_features_that_are_taken():
    features = 9e17 * torch.tensor([[0.0], [1.0], [-1.0], [0.9], [0.1]])
    picks = diverse_mini_batch(features, torch.tensor([0.9, 0.8, 0.7, 0.1, 0.1]), 3, prefilter=2, seed=0)
    assert sorted(picks.tolist()) == [0, 1, 2]
