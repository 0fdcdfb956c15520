import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpl.report.drawn.informativeness import bin_edges, has_histogram, histogram, top_accuracy
from alpl.runs.results import Informativeness


def part_of(seed, num=60, levels=8, budget=6):
    random = np.random.default_rng(seed)
    utility = random.integers(0, levels, num) / levels
    chosen = np.lexsort((random.random(num), -utility))[:budget]
    return Informativeness(random.random(num) < 0.6, chosen, utility)


def test_histogram_equals_counting_image_by_image():
    parts, edges = [part_of(0), part_of(1)], np.linspace(-0.05, 0.95, 6)
    found = histogram(parts, edges)
    for place in range(5):
        counts, shares = [], []
        for part in parts:
            inside = [n for n, u in enumerate(part.utility) if edges[place] <= u < edges[place + 1]]
            counts.append(len(inside))
            shares += [sum(part.correct[n] for n in inside) / len(inside)] if inside else []
        assert found.counts[place] == sum(counts) / 2
        assert found.total[place] == sum(counts)
        assert found.accuracy[place] == pytest.approx(sum(shares) / len(shares))


def test_an_empty_bin_has_no_accuracy():
    part = Informativeness(np.array([True, False]), np.array([1]), np.array([0.1, 0.9]))
    found = histogram([part], np.array([0.0, 0.5, 0.8, 1.0]))
    assert found.counts.tolist() == [1, 0, 1]
    assert found.accuracy[[0, 2]].tolist() == [1, 0] and np.isnan(found.accuracy[1])


def test_parts_without_utilities_are_left_out_of_the_histogram():
    set_method = Informativeness(np.ones(9, dtype=bool), np.array([1]))
    edges = bin_edges(part_of(0).utility)
    assert histogram([part_of(0), set_method], edges).total.sum() == 60
    assert not has_histogram([set_method])


@given(epochs=st.integers(3, 200), highest=st.integers(2, 199))
def test_grid_values_are_shared_evenly_among_the_bins(epochs, highest):
    grid = np.arange(min(highest, epochs - 1) + 1) / epochs
    edges = bin_edges(grid)
    counts = np.histogram(grid, edges)[0]
    assert len(counts) <= 12
    assert counts.sum() == len(grid)
    assert len(set(counts[:-1])) <= 1  # only the last bin may hold fewer
    assert counts[-1] <= counts[0]


def test_continuous_values_get_bins_of_equal_width():
    utility = np.random.default_rng(0).random(500)
    edges = bin_edges(utility)
    assert len(edges) == 13
    assert np.allclose(np.diff(edges), np.diff(edges)[0])
    assert np.histogram(utility, edges)[0].sum() == 500


def test_two_values_make_no_histogram():
    correct = np.array([True, False, True, False])
    assert not has_histogram([Informativeness(correct, np.array([1]), (~correct).astype(float))])
    assert has_histogram([Informativeness(correct, np.array([1]), np.array([0.0, 0.5, 0.5, 1.0]))])


@pytest.mark.parametrize("seed", range(3))
def test_top_accuracy_is_the_mean_over_random_orders_of_equals(seed):
    part = part_of(seed)
    found = top_accuracy(part)
    random, total, repeats = np.random.default_rng(9), np.zeros(60), 4000
    rest = np.setdiff1d(np.arange(60), part.chosen)
    for _ in range(repeats):
        order = rest[np.lexsort((random.random(len(rest)), -part.utility[rest]))]
        right = part.correct[np.concatenate([part.chosen, order])]
        total += np.cumsum(right) / np.arange(1, 61)
    assert np.allclose(found, total / repeats, atol=0.01)
    assert found[-1] == pytest.approx(part.correct.mean())
    assert found[5] == part.correct[part.chosen].mean()


def test_a_set_method_ends_at_its_query():
    part = Informativeness(np.array([True, False, True]), np.array([2, 1]))
    assert top_accuracy(part).tolist() == [1.0, 0.5]


def test_a_query_of_everything_leaves_no_rest():
    part = Informativeness(np.array([True, False]), np.array([1, 0]), np.array([0.0, 1.0]))
    assert top_accuracy(part).tolist() == [0.0, 0.5]
