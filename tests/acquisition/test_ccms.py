"""When CCMS holds all pairs of images and when a graph, and that both choose alike where the graph holds all."""

import pytest
import torch

from alpl.acquisition import Ccms, Context, Medoids
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Predictions
from alpl.selection import neighbors
from alpl.selection.similarity_graph import SimilarityGraph


def context(number=30, budget=5):
    draw = torch.Generator().manual_seed(7)
    pool = Pool.create(2 * number, torch.arange(0, 2 * number, 2))
    row = torch.arange(number).repeat_interleave(torch.arange(number) % 4)
    unlabeled = Predictions(
        index=pool.unlabeled,
        row=row,
        labels=torch.randint(3, (len(row),), generator=draw),
        scores=torch.rand(len(row), generator=draw),
        features=torch.randn(len(row), 6, generator=draw),
    )
    return Context(pool, budget, 0, unlabeled=unlabeled)


def test_a_graph_that_holds_all_pairs_chooses_as_the_matrix():
    graph = Ccms(0.3, method="faiss", neighbors=30, matches=100, recall=1.0)
    assert isinstance(graph(context().predictions), SimilarityGraph)
    exact, ours = Medoids(Ccms(0.3, method="exact")).select(context()), Medoids(graph).select(context())
    assert torch.equal(ours.index, exact.index)
    torch.testing.assert_close(ours.utility, exact.utility, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "options, installed, is_graph, said",
    [
        ({}, True, False, "ccms by all pairs: the matrix of 30 images takes 3.35e-06 GiB of 4"),
        ({"matrix_limit": 3600}, True, False, "ccms by all pairs: "),
        ({"matrix_limit": 3599}, True, True, "ccms by a graph with faiss: the matrix of 30 images takes"),
        ({"matrix_limit": 3599}, False, False, "a graph needs faiss, pip install 'faiss-cpu>=1.8'"),
        ({"matrix_limit": 3599, "same_rank": True}, True, False, "a graph knows none of empty, same_rank"),
    ],
)
def test_auto_goes_by_the_size_of_the_matrix_and_says_so(monkeypatch, caplog, options, installed, is_graph, said):
    if not installed:
        monkeypatch.setattr(neighbors, "faiss", None)
    with caplog.at_level("INFO"):
        found = Ccms(**options)(context().predictions)
    assert isinstance(found, SimilarityGraph) is is_graph and said in caplog.text


def test_wrong_settings(monkeypatch):
    for options, message in [
        ({"method": "fast"}, "method must be auto, exact or faiss, got 'fast'"),
        ({"matrix_limit": 0}, "must be >= 1, got 0, 64 and 32"),
        ({"neighbors": 0}, "must be >= 1"),
        ({"matches": 0}, "must be >= 1"),
        ({"recall": 1.5}, "recall must be in"),
        ({"method": "faiss", "empty": "similar"}, "method faiss must have empty 'dissimilar'.*got empty 'similar'"),
        ({"method": "faiss", "epsilon": 1e-5}, "epsilon 0, got .*1e-05"),
    ]:
        with pytest.raises(ConfigError, match=message):
            Ccms(**options)
    monkeypatch.setattr(neighbors, "faiss", None)
    with pytest.raises(ConfigError, match="method faiss needs faiss"):
        Ccms(method="faiss")
