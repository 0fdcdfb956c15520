import re

import pytest
import torch

from alpl.acquisition import Context, TypiClust
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Predictions
from alpl.selection import typiclust
from alpl.selection.typiclust import _clusters


def reference(features, labeled, budget, seed, neighbors=20, smallest=5, most=500, released=False):
    """Hacohen et al. 2022, Algorithm 1, with the clusters of the package and all distances one by one."""
    points = torch.cat([features, labeled]).double()
    points = points / points.norm(dim=1, keepdim=True)
    number = min(len(labeled) + budget, most, len(points))
    cluster = _clusters(points.float(), number, seed).tolist()
    covered = [cluster[len(features) :].count(c) for c in range(number)]
    left, picks, values = set(range(len(features))), [], []
    for _ in range(budget):
        some = [c for c in range(number) if any(cluster[i] == c for i in left)]
        large = [c for c in some if cluster.count(c) > smallest] or some
        chosen = min(large, key=lambda c: (covered[c], -cluster.count(c), c))
        candidates = sorted(i for i in left if cluster[i] == chosen)
        members = candidates if released else [i for i in range(len(points)) if cluster[i] == chosen]
        k = min(neighbors, len(members) // 2 if released else len(members) - 1)
        best, most_typical = candidates[0], 0.0
        for i in candidates:
            near = sorted(float((points[i] - points[j]).norm()) ** (2 if released else 1) for j in members if j != i)[
                :k
            ]
            if k and k / sum(near) > most_typical:
                best, most_typical = i, k / sum(near)
        picks.append(best)
        values.append(most_typical)
        left.remove(best)
        covered[chosen] += 1
    return picks, values


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize(("num_labeled", "budget", "most"), [(0, 5, 500), (7, 6, 500), (4, 12, 3), (0, 40, 500)])
def test_the_picks_are_those_of_the_paper(num_labeled, budget, most, released):
    random = torch.Generator().manual_seed(budget)
    features = torch.randn(40, 3, generator=random)
    labeled = torch.randn(num_labeled, 3, generator=random)
    picks, values = typiclust(
        *(features, labeled, budget),
        seed=1,
        neighbors=4,
        max_clusters=most,
        typicality="as_released" if released else "as_written",
        memory_limit=2000,
    )
    expected = reference(features, labeled, budget, 1, neighbors=4, most=most, released=released)
    assert picks.tolist() == expected[0] and values.tolist() == pytest.approx(expected[1])


def test_by_hand_the_middle_of_the_largest_cluster_without_a_label():
    heap, pair = [[0.0], [1.0], [2.0], [3.0], [4.0]], [[100.0], [101.0], [102.0]]
    labeled = torch.tensor([[200.0]])
    picks, values = typiclust(
        torch.tensor(pair + heap), labeled, 2, seed=0, neighbors=2, min_cluster_size=2, normalize=False
    )
    assert picks.tolist() == [4, 1]  # of 0, 1, 2, 3, 4 the first whose two neighbors are at 1 and 1
    assert values.tolist() == [1.0, 1.0]


def test_a_cluster_with_a_label_comes_last_and_a_small_one_after_it():
    features = torch.tensor([[0.0], [0.1], [0.2], [50.0], [50.1], [90.0]])
    labeled = torch.tensor([[50.2]])
    options = {"seed": 0, "min_cluster_size": 1, "max_clusters": 3, "normalize": False}
    picks, _ = typiclust(features, labeled, 6, **options)
    assert int(picks[0]) in (0, 1, 2) and int(picks[-1]) == 5


def test_equal_points_have_a_finite_typicality_and_the_first_is_picked():
    picks, values = typiclust(torch.ones(9, 2), torch.empty(0, 2), 3, seed=0)
    assert picks.tolist()[0] == 0 and len(set(picks.tolist())) == 3 and values.isfinite().all()


def test_nothing_is_asked_for_and_nothing_is_left():
    assert len(typiclust(torch.ones(3, 2), torch.empty(0, 2), 0, seed=0)[0]) == 0
    assert len(typiclust(torch.empty(0, 2), torch.ones(3, 2), 0, seed=0)[0]) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": 4}, "budget must be in [0, 3] candidates, got 4"),
        ({"labeled": torch.ones(1, 3)}, "features and labeled must be [U F] and [L F], got [3, 2] and [1, 3]"),
        ({"features": torch.full((3, 2), torch.nan)}, "must be finite"),
        ({"neighbors": 0}, "neighbors and max_clusters must be >= 1 and min_cluster_size >= 0, got 0, 500 and 5"),
        ({"typicality": "mean"}, "typicality must be one of as_written, as_released, got 'mean'"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    given = {"features": torch.rand(3, 2), "labeled": torch.ones(1, 2), "budget": 1, "seed": 0} | change
    with pytest.raises(ValueError, match=re.escape(message)):
        typiclust(**given)


def test_the_acquisition_hands_over_what_is_labeled_and_repeats_itself():
    features = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    pool = Pool.create(30, torch.tensor([3, 20]))

    def observed(index):
        return Predictions(index, torch.arange(len(index)), image_features=features[index])

    context = Context(pool, 6, seed=2, unlabeled=observed(pool.unlabeled), labeled=observed(pool.labeled))
    query, again = (TypiClust(neighbors=3, min_cluster_size=1).select(context) for _ in range(2))
    seed = int(torch.randint(2**31 - 1, (), generator=context.generator("k-means")))
    picks, _ = reference(features[pool.unlabeled], features[pool.labeled], 6, seed, neighbors=3, smallest=1)
    assert query.index.tolist() == again.index.tolist() == pool.unlabeled[picks].tolist()
    with pytest.raises(ConfigError, match=r"acquisition\.typicality must be one of"):
        TypiClust(typicality="mean")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"acquisition\.neighbors and max_clusters must be >= 1"):
        TypiClust(neighbors=0)
