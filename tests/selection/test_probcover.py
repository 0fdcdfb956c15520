import re

import pytest
import torch

from alpl.acquisition import Context, ProbCover
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Need, Posterior, Predictions
from alpl.selection import probcover, pure_radius
from alpl.selection.neighbors import nearest_center, weighted_kmeans


def reference(features, labeled, budget, delta):
    """Yehuda et al. 2022, Algorithm 1: a graph of edges, from which those to covered points go."""
    points = [x / x.norm() for x in torch.cat([features, labeled]).double()]
    number = len(features)
    edges = {(x, y) for x in range(len(points)) for y in range(number) if float((points[x] - points[y]).norm()) < delta}
    seen = {y for x, y in edges if x >= number}
    edges = {(x, y) for x, y in edges if y not in seen}
    picks, covered = [], []
    for _ in range(budget):
        degree = [sum(x == i for x, _ in edges) if i not in picks else -1 for i in range(number)]
        pick = degree.index(max(degree))
        news = {y for x, y in edges if x == pick}
        edges = {(x, y) for x, y in edges if y not in news}
        picks.append(pick)
        covered.append(float(len(news)))
    return picks, covered


@pytest.mark.parametrize(("num_labeled", "budget", "delta"), [(0, 8, 0.7), (4, 8, 0.5), (2, 30, 1.2), (1, 30, 1e-3)])
def test_the_picks_are_those_of_the_graph(num_labeled, budget, delta):
    random = torch.Generator().manual_seed(budget)
    features, labeled = torch.randn(30, 3, generator=random), torch.randn(num_labeled, 3, generator=random)
    picks, covered = probcover(features, labeled, budget, delta=delta, memory_limit=3000)
    assert (picks.tolist(), covered.tolist()) == reference(features, labeled, budget, delta)


def test_by_hand():
    # an open ball of radius 1.5: 1 holds 0, 1 and 2; then 4 holds 4 and 5; 9 is covered by a label
    features = torch.tensor([[0.0], [1.0], [2.0], [9.0], [4.0], [5.0]])
    picks, covered = probcover(features, torch.tensor([[9.5]]), 3, delta=1.5, normalize=False)
    assert picks.tolist() == [1, 4, 0] and covered.tolist() == [3.0, 2.0, 0.0]


def test_a_ball_is_open():
    features = torch.tensor([[0.0], [1.0], [2.0]])
    assert probcover(features, torch.empty(0, 1), 1, delta=1.0, normalize=False)[1].tolist() == [1.0]
    assert probcover(features, torch.empty(0, 1), 1, delta=1.001, normalize=False)[1].tolist() == [3.0]


@pytest.mark.parametrize("purity", [0.5, 0.9, 0.95, 1.0])
def test_the_radius_is_the_largest_that_is_pure_enough(purity):
    features = torch.randn(60, 2, generator=torch.Generator().manual_seed(1))
    radius = pure_radius(features, 4, purity=purity, seed=3, normalize=False, memory_limit=5000)
    points = features.double()
    cluster = nearest_center(features, weighted_kmeans(features, torch.ones(60), 4, seed=3))[0]

    def pure(delta):
        near = torch.cdist(points, points) < delta
        return sum(len(cluster[row].unique()) == 1 for row in near) / 60

    assert pure(radius * (1 - 1e-9)) >= purity - 1e-9 > pure(radius * 1.0001) or purity == 0.5
    assert pure(radius * (1 - 1e-9)) >= purity > pure(radius * 1.0001)


def test_of_one_cluster_every_ball_is_pure():
    assert pure_radius(torch.rand(5, 2), 1) == float("inf")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": 4}, "budget must be in [0, 3] candidates, got 4"),
        ({"labeled": torch.ones(1, 3)}, "features and labeled must be [U F] and [L F], got [3, 2] and [1, 3]"),
        ({"delta": 0.0}, "delta must be finite and > 0, got 0.0"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    given = {"features": torch.rand(3, 2), "labeled": torch.ones(1, 2), "budget": 1, "delta": 0.1} | change
    with pytest.raises(ValueError, match=re.escape(message)):
        probcover(**given)


def test_purity_and_clusters_out_of_range():
    with pytest.raises(ValueError, match=re.escape("num_clusters must be in [1, 3] points, got 4")):
        pure_radius(torch.rand(3, 2), 4)
    with pytest.raises(ValueError, match=re.escape("purity must be in (0, 1], got 0")):
        pure_radius(torch.rand(3, 2), 2, purity=0)


def test_the_acquisition_finds_its_radius_and_repeats_itself():
    random = torch.Generator().manual_seed(0)
    features, probs = torch.randn(30, 4, generator=random), torch.randn(30, 3, generator=random).softmax(1)
    pool = Pool.create(30, torch.tensor([3, 20]))

    def observed(index):
        return Predictions(index, torch.arange(len(index)), Posterior(probs[index]), image_features=features[index])

    context = Context(pool, 6, seed=2, unlabeled=observed(pool.unlabeled), labeled=observed(pool.labeled))
    here, there = features[pool.unlabeled], features[pool.labeled]
    seed = int(torch.randint(2**31 - 1, (), generator=context.generator("k-means")))
    radius = pure_radius(torch.cat([here, there]), 3, seed=seed)
    for acquisition in (ProbCover(), ProbCover(num_clusters=3), ProbCover(radius)):
        assert (
            acquisition.select(context).index.tolist() == pool.unlabeled[reference(here, there, 6, radius)[0]].tolist()
        )
    assert Need.POSTERIOR in ProbCover().needs and Need.POSTERIOR not in ProbCover(0.5).needs
    with pytest.raises(ValueError, match="delta must be given where 1 clusters give a radius of inf"):
        ProbCover(num_clusters=1).select(context)


def test_settings_that_cannot_work():
    for make, message in (
        (lambda: ProbCover(0.0), "acquisition.delta must be null or finite and > 0, got 0.0"),
        (lambda: ProbCover(num_clusters=0), "acquisition.num_clusters must be null or >= 1, got 0"),
        (lambda: ProbCover(purity=1.5), "acquisition.purity must be in (0, 1], got 1.5"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            make()
