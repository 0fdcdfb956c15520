"""The graph of most similar images against the matrix of all, and its k-centers and medoids against the matrix's."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alpl.errors import ConfigError
from alpl.selection import neighbors, object_neighbors
from alpl.selection.ccms import ccms
from alpl.selection.ccms_graph import ccms_graph
from alpl.selection.graph_medoids import kcenter_of_graph, refine_medoids_of_graph, represented_of_graph
from alpl.selection.medoids import kcenter_of_similarities, refine_medoids, represented
from alpl.selection.object_neighbors import NearestObjects
from alpl.selection.objects import Objects
from alpl.selection.pair_similarity import pair_similarities
from alpl.selection.similarity_graph import SimilarityGraph, nearest_graph

seeds = st.integers(0, 2**32)


def made_up(seed, number, *, classes=3, width=4, most=4):
    draw = torch.Generator().manual_seed(seed)
    row = torch.arange(number).repeat_interleave(torch.randint(most + 1, (number,), generator=draw))
    labels = torch.randint(classes, (len(row),), generator=draw)
    values = torch.randn(len(row), width, generator=draw)
    return Objects(values, labels, torch.rand(len(row), generator=draw), row, number)


def whole(graph):
    """``Float[N N]``: what is held, 0 elsewhere."""
    square = torch.zeros(len(graph), len(graph))
    square[graph.firsts(), graph.others] = graph.values
    return square.fill_diagonal_(2)


def graph_of(square, number):
    first, second = torch.triu_indices(len(square), len(square), 1)
    return nearest_graph(first, second, square[first, second], len(square), number)


def assert_same_picks(square, graph, budget, first):
    picks = kcenter_of_similarities(square, budget, first)
    assert torch.equal(kcenter_of_graph(graph, budget, first), picks)
    for ties in ("own", "as_released"):
        medoids = refine_medoids(square, picks, ties=ties)
        assert torch.equal(refine_medoids_of_graph(graph, picks, ties=ties), medoids)
        found = represented_of_graph(graph, medoids)
        torch.testing.assert_close(found, represented(square, medoids), atol=1e-5, rtol=0)


@settings(max_examples=40)
@given(seeds, st.integers(1, 9), st.sampled_from([[0.0, 1.0, 2.0], [0.0, 0.25, 0.5, 1.0, 1.5, 2.0], [1.0]]))
def test_a_graph_of_all_pairs_gives_the_picks_of_the_matrix_ties_too(seed, number, values):
    draw = random.Random(seed)
    square = torch.full((number, number), 2.0)
    for a in range(number):
        for b in range(a):
            square[a, b] = square[b, a] = draw.choice(values)
    graph = graph_of(square, number)
    assert torch.equal(whole(graph), square)
    assert_same_picks(square, graph, draw.randint(1, number), draw.randrange(number))


@settings(max_examples=20)
@given(seeds, st.integers(1, 12), st.integers(1, 4))
def test_covering_everything_is_the_exact_ccms(seed, number, classes):
    objects = made_up(seed, number, classes=classes)
    square = ccms(objects)
    graph = ccms_graph(objects, neighbors=number, matches=len(objects.row) + 1, memory_limit=64)
    torch.testing.assert_close(whole(graph), square, atol=2e-6, rtol=0)
    assert not graph.floor.any()
    assert_same_picks(square, graph, random.Random(seed).randint(1, number), number - 1)


@settings(max_examples=15)
@given(seeds, st.integers(1, 3), st.integers(1, 3))
def test_what_is_held_has_the_similarity_of_the_matrix(seed, kept, matches):
    objects = made_up(seed, 12)
    square = ccms(objects)
    graph = ccms_graph(objects, neighbors=kept, matches=matches)
    held = whole(graph)
    assert torch.equal(held, held.T)
    firsts = graph.firsts()
    torch.testing.assert_close(graph.values, square[firsts, graph.others], atol=2e-6, rtol=0)
    counts = torch.bincount(firsts, minlength=12)
    looked_at_all = matches >= int(objects.labels.bincount().max())
    for image in range(12):
        others, values = graph.row(image)
        assert others.tolist() == sorted(set(others.tolist()) - {image})
        floor = float(graph.floor[image])
        if floor or not looked_at_all:  # the least of its own; of few, all are
            assert floor == (float(values.topk(min(kept, len(values))).values[-1]) if len(values) else 0.0)
        else:
            assert counts[image] < kept or floor == float(values.topk(kept).values[-1])


def test_images_of_a_scene_find_each_other():
    draw = torch.Generator().manual_seed(0)
    scenes, each = torch.randn(5, 16, generator=draw), 8
    scene = torch.arange(40) % 5
    values = scenes[scene].repeat_interleave(each, 0) + 0.2 * torch.randn(40 * each, 16, generator=draw)
    row = torch.arange(40).repeat_interleave(each)
    objects = Objects(values, torch.arange(40 * each) % 2, torch.ones(40 * each), row, 40)
    graph = ccms_graph(objects, neighbors=7, matches=20)
    assert torch.equal(torch.bincount(graph.firsts()), torch.full((40,), 7))
    assert torch.equal(scene[graph.firsts()], scene[graph.others])
    picks = kcenter_of_graph(graph, 5, 0)
    assert sorted(scene[picks].tolist()) == sorted(scene[refine_medoids_of_graph(graph, picks)].tolist()) == [*range(5)]


def test_the_best_of_each_image_by_hand():
    # 0 and 1 choose each other, 2 chooses 1, 3 has two that are as good and chooses the first
    first, second = torch.tensor([0, 1, 0, 3, 2]), torch.tensor([1, 2, 2, 1, 3])
    graph = nearest_graph(first, second, torch.tensor([1.5, 1.0, 0.5, 0.25, 0.25]), 5, 1)
    assert graph.starts.tolist() == [0, 1, 4, 5, 6, 6] and graph.others.tolist() == [1, 0, 2, 3, 1, 1]
    assert graph.values.tolist() == [1.5, 1.5, 1.0, 0.25, 1.0, 0.25]
    assert graph.floor.tolist() == [1.5, 1.5, 1.0, 0.25, 0.0]  # 4 has no pair at all


def test_similarity_0_is_never_held():
    graph = nearest_graph(torch.tensor([0, 0]), torch.tensor([1, 2]), torch.tensor([0.0, 0.5]), 3, 2)
    assert graph.others.tolist() == [2, 0] and graph.floor.tolist() == [0.0, 0.0, 0.0]


def test_what_is_not_held_counts_nothing_by_hand():
    # 0 - 1 - 2 - 3 - 4 in a row, as similar as 1.5, 1, 0.5, 0.75
    graph = SimilarityGraph(
        torch.tensor([0, 1, 3, 5, 7, 8]),
        torch.tensor([1, 0, 2, 1, 3, 2, 4, 3]),
        torch.tensor([1.5, 1.5, 1.0, 1.0, 0.5, 0.5, 0.75, 0.75]),
        torch.tensor([1.5, 1.0, 0.5, 0.5, 0.75]),
    )
    # after 0: 2, 3 and 4 are held with no pick, 2 is the first of the lowest floors; then 4; then 3, 0.75, not 1, 1.5
    assert kcenter_of_graph(graph, 5, 0).tolist() == [0, 2, 4, 3, 1]
    # 0 and 1 are the cluster of 0, in which each has 1.5; 2 to 4 join none
    assert represented_of_graph(graph, torch.tensor([0])).tolist() == [1.5]
    assert refine_medoids_of_graph(graph, torch.tensor([0])).tolist() == [0]
    # 0, 1 and 2 are that of 1, with 1.5, 2.5, 1; 3 joins 4, not 2, which is no medoid
    assert refine_medoids_of_graph(graph, torch.tensor([1, 4])).tolist() == [1, 3]
    assert represented_of_graph(graph, torch.tensor([1, 3])).tolist() == [2.5, 0.75]


def test_objects_of_a_negative_class_do_not_count():
    objects = made_up(3, 9)
    out = torch.arange(len(objects.row)) % 3 == 0
    marked = Objects(
        objects.values,
        objects.labels.masked_fill(out, -1),
        objects.scores.masked_fill(out, 0.0),
        objects.row,
        9,
    )
    left = Objects(objects.values[~out], objects.labels[~out], objects.scores[~out], objects.row[~out], 9)
    options = {"neighbors": 9, "matches": 50}
    assert torch.equal(whole(ccms_graph(marked, **options)), whole(ccms_graph(left, **options)))


def test_a_pair_by_hand():
    # the example of ccms: S' = 1.8 of the first, whose object of another class finds nothing; 2 of the second
    values = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    objects = Objects(values, torch.tensor([3, 4, 3]), torch.tensor([0.9, 0.1, 0.5]), torch.tensor([0, 0, 1]), 3)
    found = pair_similarities(objects, torch.tensor([0, 0, 1]), torch.tensor([1, 2, 2]))
    assert found.tolist() == pytest.approx([1.9, 0.0, 0.0])


@pytest.mark.parametrize("number", [0, 1, 3])
def test_nothing_to_compare(number):
    nothing = torch.zeros(0)
    objects = Objects(torch.zeros(0, 4), nothing.long(), nothing, nothing.long(), number)
    graph = ccms_graph(objects)
    assert len(graph) == number and not len(graph.values) and not graph.floor.any()
    assert kcenter_of_graph(graph, number, 0).tolist() == list(range(number))
    assert refine_medoids_of_graph(graph, torch.zeros(0).long()).tolist() == []


def test_cells_reach_the_recall_that_is_asked_for(monkeypatch, caplog):
    monkeypatch.setattr(object_neighbors, "_CELLS_FROM", 500)
    draw = torch.Generator().manual_seed(0)
    unit = torch.nn.functional.normalize(torch.randn(2000, 8, generator=draw), dim=1)
    true, cosines = NearestObjects(unit, 10, 1.0).of(slice(0, 300))
    assert torch.equal(true[:, 0], torch.arange(300)) and bool((cosines.diff(dim=1) <= 0).all())
    torch.testing.assert_close(cosines, (unit[:300] @ unit.T).topk(10).values)
    with caplog.at_level("INFO"):
        cells = NearestObjects(unit, 10, 0.9)
    assert 0.9 <= cells.reached < 1 and f"recall {cells.reached:.3f}" in caplog.text
    found, _ = cells.of(slice(0, 300))
    shared = [len(set(a) & set(b)) for a, b in zip(found.tolist(), true.tolist(), strict=True)]
    assert 0.8 < sum(shared) / true.numel() < 1
    assert torch.equal(NearestObjects(unit, 10, 0.9).of(slice(0, 300))[0], found)  # the same cells again


def test_all_cells_are_looked_into_at_last(monkeypatch):
    monkeypatch.setattr(object_neighbors, "_CELLS_FROM", 500)
    unit = torch.nn.functional.normalize(torch.randn(600, 32, generator=torch.Generator().manual_seed(1)), dim=1)
    assert NearestObjects(unit, 50, 0.9999).reached >= 0.9999


def test_without_faiss_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(neighbors, "faiss", None)
    with pytest.raises(ConfigError, match=r"needs faiss.*extra cpu or gpu.*'faiss-cpu>=1.8'.*'faiss-gpu-cu12>=1.8'"):
        ccms_graph(made_up(0, 5))


def test_wrong_arguments():
    objects = made_up(0, 5)
    for options, message in [
        ({"neighbors": 0}, "neighbors and matches must be >= 1, got 0 and 32"),
        ({"matches": 0}, "got 64 and 0"),
        ({"recall": 0.0}, "recall must be in"),
    ]:
        with pytest.raises(ValueError, match=message):
            ccms_graph(objects, **options)
    objects.values[-1, 0] = torch.nan
    with pytest.raises(ValueError, match="values must be finite"):
        ccms_graph(objects)
    graph = graph_of(torch.ones(3, 3), 2)
    with pytest.raises(ValueError, match="budget must be in"):
        kcenter_of_graph(graph, 4, 0)
    with pytest.raises(ValueError, match="first must be in"):
        kcenter_of_graph(graph, 1, 3)
    with pytest.raises(ValueError, match="medoids must be different"):
        refine_medoids_of_graph(graph, torch.tensor([1, 1]))
    with pytest.raises(ValueError, match="ties must be"):
        refine_medoids_of_graph(graph, torch.tensor([1]), ties="last")
