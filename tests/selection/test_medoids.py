"""k-centers and medoids on similarities against loops written from PPAL sec. 3.3."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alpl.selection.medoids import kcenter_of_similarities, refine_medoids, represented


def first_smallest(candidates, value):
    best = None
    for each in candidates:
        if best is None or value(each) < value(best):
            best = each
    return best


def slow_kcenter(similarity, budget, first):
    picks = [first] if budget else []
    while len(picks) < budget:
        free = [i for i in range(len(similarity)) if i not in picks]
        picks.append(first_smallest(free, lambda i: max(similarity[i][j] for j in picks)))
    return picks


def slow_clusters(similarity, medoids, ties):
    members = [[] for _ in medoids]
    for image in range(len(similarity)):
        if ties == "own" and image in medoids:
            members[medoids.index(image)].append(image)
        else:
            apart = [-similarity[image][medoid] for medoid in medoids]
            members[apart.index(min(apart))].append(image)
    while empties := [k for k in range(len(medoids)) if not members[k]]:
        for other in members:
            other[:] = [image for image in other if image not in [medoids[k] for k in empties]]
        for k in empties:
            members[k] = [medoids[k]]
    return members


def slow_refine(similarity, medoids, iterations, ties):
    medoids = list(medoids)
    for _ in range(iterations if medoids else 0):  # all of them: no early stop
        clusters = slow_clusters(similarity, medoids, ties)
        medoids = [slow_center(similarity, members) for members in clusters]
    return medoids


def slow_center(similarity, members):
    return first_smallest(members, lambda i: -sum(similarity[i][j] for j in members if j != i))


def random_similarities(draw, number, own):
    """Few values: ties everywhere; some images are duplicates of others."""
    values = draw.choice([[0.0, 1.0, 2.0], [0.0, 0.25, 0.5, 1.0, 1.5, 2.0], [1.0]])
    square = [[own] * number for _ in range(number)]
    for i in range(number):
        for j in range(i):
            square[i][j] = square[j][i] = draw.choice(values)
    for i in range(1, number):
        if draw.random() < 0.2:
            twin = draw.randrange(i)
            for j in range(number):
                square[i][j] = square[j][i] = square[twin][j]
            square[i][i] = square[i][twin] = square[twin][i] = own
    return square


@pytest.mark.sample(1)
@pytest.mark.parametrize("ties", ["own", "as_released"])
def test_same_as_the_loops(ties):
    draw = random.Random(0)
    for case in range(1000):
        number = draw.randint(1, 9)
        budget = draw.choice([0, 1, number, draw.randint(0, number)])
        similarity = random_similarities(draw, number, own=2.0)
        square = torch.tensor(similarity, dtype=draw.choice([torch.float32, torch.float64]))
        first = draw.randrange(number)
        picks = kcenter_of_similarities(square, budget, first)
        assert picks.tolist() == slow_kcenter(similarity, budget, first), case
        iterations = draw.choice([0, 1, 2, 100])
        start = torch.tensor(draw.sample(range(number), budget), dtype=torch.long)
        limit = 110 if number == 1 else 13 * number + draw.choice([0, 10_000])
        found = refine_medoids(square, start, iterations=iterations, ties=ties, memory_limit=limit)
        assert found.tolist() == slow_refine(similarity, start.tolist(), iterations, ties), case


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), st.sampled_from(["own", "as_released"]))
def test_medoids_are_different_and_their_own(seed, number, ties):
    draw = random.Random(seed)
    square = torch.tensor(random_similarities(draw, number, own=draw.choice([2.0, 2.5])))
    budget = draw.randint(1, number)
    centers = kcenter_of_similarities(square, budget, draw.randrange(number))
    medoids = refine_medoids(square, centers, ties=ties)
    assert len(set(centers.tolist())) == len(set(medoids.tolist())) == budget
    if ties == "own":  # settled: every further iteration finds the same
        assert torch.equal(refine_medoids(square, medoids), medoids)


def test_the_farthest_first_then_the_middle():
    # two groups on a line, 0 1 2 and 10 11 12, and an outlier that k-center would keep as a center
    points = torch.tensor([0.0, 1.0, 2.0, 10.0, 11.0, 12.0])
    square = 2 - (points[:, None] - points).abs() / 10
    centers = kcenter_of_similarities(square, 2, first=0)
    assert centers.tolist() == [0, 5]
    assert refine_medoids(square, centers).tolist() == [1, 4]
    assert represented(square, torch.tensor([1, 4])).tolist() == pytest.approx([3.8, 3.8])


def test_duplicates_are_picked_last_and_never_twice():
    square = torch.full((4, 4), 2.0)
    assert kcenter_of_similarities(square, 4, first=2).tolist() == [2, 0, 1, 3]
    for ties in ("own", "as_released"):
        assert len(set(refine_medoids(square, torch.tensor([3, 1]), ties=ties).tolist())) == 2


def test_a_medoid_that_equals_another_keeps_its_cluster():
    square = torch.tensor([[2.0, 2.0, 1.0], [2.0, 2.0, 1.0], [1.0, 1.0, 2.0]])
    start = torch.tensor([0, 1])
    assert refine_medoids(square, start, iterations=1).tolist() == [0, 1]
    # as released image 1 joins image 0, its cluster is empty, and it returns: where the code stops with an error
    assert refine_medoids(square, start, iterations=1, ties="as_released").tolist() == [0, 1]


def test_nothing_to_choose():
    assert kcenter_of_similarities(torch.zeros(0, 0), 0, first=0).tolist() == []
    assert refine_medoids(torch.zeros(0, 0), torch.zeros(0).long()).tolist() == []
    assert represented(torch.ones(3, 3), torch.zeros(0).long()).tolist() == []


def test_wrong_arguments():
    square = torch.eye(3)
    for budget, first, message in [(4, 0, "budget must be in"), (1, 3, "first must be in")]:
        with pytest.raises(ValueError, match=message):
            kcenter_of_similarities(square, budget, first)
    with pytest.raises(ValueError, match="similarity must be Float"):
        kcenter_of_similarities(torch.ones(2, 3), 1, 0)
    with pytest.raises(ValueError, match="similarity must be finite"):
        kcenter_of_similarities(torch.full((2, 2), torch.nan), 1, 0)
    for medoids in ([0, 0], [0, 3]):
        with pytest.raises(ValueError, match="medoids must be different images"):
            refine_medoids(square, torch.tensor(medoids))
    with pytest.raises(ValueError, match="iterations must be >= 0"):
        refine_medoids(square, torch.tensor([0]), iterations=-1)
    with pytest.raises(ValueError, match="ties must be own or as_released"):
        refine_medoids(square, torch.tensor([0]), ties="last")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_picks_the_same():
    square = torch.tensor(random_similarities(random.Random(0), 200, own=2.0))
    centers = kcenter_of_similarities(square, 40, first=7)
    on_cuda = kcenter_of_similarities(square.cuda(), 40, first=7)
    assert on_cuda.tolist() == centers.tolist()
    assert refine_medoids(square.cuda(), on_cuda).tolist() == refine_medoids(square, centers).tolist()
