import re

import pytest
import torch

from alpl.acquisition import ClusterMargin, Context, KCenter, Margin
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Posterior, Predictions
from alpl.selection import average_linkage, round_robin


def linked(points, number):
    """Average linkage by the definition: join the two clusters whose pairs are closest on average."""
    clusters = [[i] for i in range(len(points))]
    apart = torch.cdist(points.double(), points.double())
    while len(clusters) > number:
        pairs = [(a, b) for a in range(len(clusters)) for b in range(a)]
        a, b = min(pairs, key=lambda pair: float(apart[clusters[pair[0]]][:, clusters[pair[1]]].mean()))
        clusters[b] += clusters.pop(a)
    return {frozenset(cluster) for cluster in clusters}


def _groups(cluster):
    return {frozenset((cluster == c).nonzero().flatten().tolist()) for c in cluster.unique()}


def _context(number=40, budget=6, seed=0):
    random = torch.Generator().manual_seed(seed)
    pool = Pool.create(number, torch.arange(0, 8, 2))
    index = pool.unlabeled
    features, probs = (
        torch.randn(len(index), 3, generator=random),
        torch.randn(len(index), 4, generator=random).softmax(1),
    )
    seen = Predictions(index, torch.arange(len(index)), Posterior(probs), image_features=features)
    return Context(pool, budget, seed, unlabeled=seen)


@pytest.mark.parametrize("number", [1, 4, 9, 20])
def test_clusters_are_those_of_average_linkage(number):
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    assert _groups(average_linkage(points, num_clusters=number, seed=0)) == linked(points, number)


def test_linking_ends_at_a_distance_and_large_pools_are_joined_by_k_means_first():
    points = torch.tensor([[0.0], [1.0], [10.0], [11.0], [50.0]])
    assert _groups(average_linkage(points, distance=2.0, seed=0)) == {frozenset(s) for s in ({0, 1}, {2, 3}, {4})}
    assert _groups(average_linkage(points, num_clusters=2, seed=0, linked_up_to=3)) == {
        frozenset({0, 1, 2, 3}),
        frozenset({4}),
    }
    assert average_linkage(points[:1], num_clusters=1, seed=0).tolist() == [0]
    with pytest.raises(ValueError, match="one of num_clusters and distance must be given"):
        average_linkage(points, seed=0)


def test_turns_go_from_the_smallest_cluster_to_the_largest():
    cluster = torch.tensor([0, 0, 0, 1, 2, 2])
    for seed in range(10):
        drawn = round_robin(cluster, 6, torch.Generator().manual_seed(seed))
        assert cluster[drawn].tolist() == [1, 2, 0, 2, 0, 0] and sorted(drawn.tolist()) == list(range(6))
    assert (
        len({tuple(round_robin(cluster, 3, torch.Generator().manual_seed(seed)).tolist()) for seed in range(40)}) == 6
    )
    with pytest.raises(ValueError, match=re.escape("budget must be in [0, 6] points, got 7")):
        round_robin(cluster, 7, torch.Generator())


def test_the_query_is_of_small_margins_one_of_each_cluster_in_turn():
    context = _context()
    utility = Margin().utility(context).double()
    query = ClusterMargin(Margin(), ratio=3, cluster_size=4).select(context)
    best = set(context.pool.unlabeled[utility.argsort(descending=True)[:18]].tolist())
    assert set(query.index.tolist()) <= best and len(set(query.index.tolist())) == 6
    seed = int(torch.randint(2**31 - 1, (), generator=context.generator("k-means")))
    cluster = average_linkage(context.unlabeled.image_features, num_clusters=9, seed=seed)
    of = dict(zip(context.pool.unlabeled.tolist(), cluster.tolist(), strict=True))
    sizes = {c: sum(of[i] == c for i in best) for c in set(of.values())}
    drawn = [of[i] for i in query.index.tolist()]
    turns = [drawn[: place + 1].count(c) for place, c in enumerate(drawn)]
    assert turns == sorted(turns)
    first = [sizes[c] for c, turn in zip(drawn, turns, strict=True) if turn == 1]
    assert first == sorted(first)
    assert torch.equal(query.pool_utility, utility)


@pytest.mark.parametrize("budget", [0, 1, 36])
def test_any_budget_and_the_same_seed(budget):
    context = _context(budget=budget)
    query, again = (ClusterMargin(Margin()).select(context) for _ in range(2))
    assert len(set(query.index.tolist())) == budget and torch.equal(query.index, again.index)


def test_what_cannot_be_is_refused():
    for make, message in (
        (lambda: ClusterMargin(KCenter()), "acquisition.ranking must give each image a utility, got KCenter"),
        (lambda: ClusterMargin(Margin(), ratio=0.5), "acquisition.ratio must be finite and >= 1, got 0.5"),
        (lambda: ClusterMargin(Margin(), cluster_size=0), "acquisition.cluster_size must be finite and >= 1, got 0"),
        (lambda: ClusterMargin(Margin(), distance=0.0), "acquisition.distance must be null or finite and > 0, got 0.0"),
        (lambda: ClusterMargin(Margin(), linked_up_to=1), "acquisition.linked_up_to must be >= 2, got 1"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            make()
    with pytest.raises(ValueError, match=re.escape("budget must be in [0, 36] images, got 37")):
        ClusterMargin(Margin()).select(_context(budget=37))
