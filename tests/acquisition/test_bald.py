import math

import pytest

from alpl.acquisition import Bald
from alpl.predictions import Need

# [V I C]: image 0 is unsure in every pass, image 1 sure but otherwise each time, image 2 in between
VIEWS = [[[0.5, 0.5], [1.0, 0.0], [1.0, 0.0]], [[0.5, 0.5], [0.0, 1.0], [0.5, 0.5]]]


def test_disagreement_counts_and_doubt_does_not(context_of):
    assert Bald().needs is Need.VIEWS
    query = Bald().select(context_of(number=3, budget=3, views=VIEWS))
    assert query.index.tolist() == [3, 5, 1]
    between = 2 * math.log(2) - 0.75 * math.log(3) - math.log(2) / 2
    assert query.utility.tolist() == pytest.approx([math.log(2), between, 0.0], abs=1e-6)


def test_without_views_it_says_what_it_needs(context_of):
    with pytest.raises(AssertionError, match=r"must declare Need\.VIEWS"):
        Bald().select(context_of([[0.5, 0.5]]))
