import pytest

from alpl.acquisition import LeastConfidence
from alpl.predictions import Form, Need

PROBS = [[0.5, 0.2, 0.3], [0.6, 0.4, 0.0], [0.34, 0.33, 0.33], [1.0, 0.0, 0.0]]


def test_the_least_confident_image_comes_first(context_of):
    assert LeastConfidence().needs is Need.POSTERIOR
    query = LeastConfidence().select(context_of(PROBS, budget=4))
    assert query.index.tolist() == [5, 1, 3, 7]
    assert query.utility.tolist() == pytest.approx([0.66, 0.5, 0.4, 0.0])
    assert query.pool_utility.tolist() == pytest.approx([0.5, 0.4, 0.66, 0.0])


def test_the_background_is_no_confidence(context_of):
    probs = [[0.9, 0.1, 0.0], [0.0, 0.6, 0.4], [0.2, 0.8, 0.0]]
    assert LeastConfidence().select(context_of(probs, budget=3, form=Form.BACKGROUND)).index.tolist() == [1, 3, 5]
    assert LeastConfidence().select(context_of(probs, budget=3)).index.tolist() == [3, 5, 1]
