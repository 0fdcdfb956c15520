import math

import pytest

from alpl.acquisition import Entropy
from alpl.predictions import Form, Need

PROBS = [[0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0], [0.5, 0.25, 0.25, 0.0]]


def test_the_highest_entropy_comes_first(context_of):
    assert Entropy().needs is Need.POSTERIOR
    query = Entropy().select(context_of(PROBS, budget=4))
    assert query.index.tolist() == [3, 7, 1, 5]
    assert query.utility.tolist() == pytest.approx([math.log(2) * bits for bits in (2, 1.5, 1, 0)])


def test_independent_outputs_add_their_entropies(context_of):
    query = Entropy().select(context_of(PROBS[:2], budget=2, form=Form.SIGMOID))
    quarter = 2 * math.log(2) - 0.75 * math.log(3)  # the binary entropy of 1/4
    assert query.pool_utility.tolist() == pytest.approx([2 * math.log(2), 4 * quarter])
    assert query.index.tolist() == [3, 1]
