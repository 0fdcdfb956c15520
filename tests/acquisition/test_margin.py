import pytest

from alpl.acquisition import Margin
from alpl.predictions import Form, Need

PROBS = [[0.5, 0.2, 0.3], [0.6, 0.4, 0.0], [0.34, 0.33, 0.33], [1.0, 0.0, 0.0]]


def test_the_smallest_margin_comes_first(context_of):
    assert Margin().needs is Need.POSTERIOR
    query = Margin().select(context_of(PROBS, budget=4))
    assert query.index.tolist() == [5, 3, 1, 7] or query.index.tolist() == [5, 1, 3, 7]  # 0.8 twice: a tie
    assert query.pool_utility.tolist() == pytest.approx([0.8, 0.8, 0.99, 0.0])


def test_it_differs_from_least_confidence(context_of):
    probs = [[0.48, 0.47, 0.05], [0.4, 0.3, 0.3]]  # the second has the lower confidence, the first the lower margin
    assert Margin().select(context_of(probs)).index.tolist() == [1]


def test_the_background_is_an_output_as_any_other(context_of):
    probs = [[0.5, 0.5, 0.0], [0.0, 0.6, 0.4]]
    assert Margin().select(context_of(probs, form=Form.BACKGROUND)).index.tolist() == [1]
