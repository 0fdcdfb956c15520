import itertools
import math
import re

import pytest
import torch

from alpl.acquisition import Bald, BatchBald
from alpl.errors import ConfigError
from alpl.predictions import Form
from alpl.selection import batch_bald
from alpl.selection.batch_bald import _Outcomes


def _views(num_views, number, classes, seed=0):
    return (2 * torch.randn(num_views, number, classes, generator=torch.Generator().manual_seed(seed))).softmax(2)


def information(views, chosen):
    """Kirsch et al. 2019, Eq. 8 to 10: over all outcomes of the labels chosen."""
    probs, entropy = views.double(), 0.0
    for outcome in itertools.product(range(views.shape[2]), repeat=len(chosen)):
        joint = sum(
            math.prod(float(probs[v, i, y]) for i, y in zip(chosen, outcome, strict=True)) for v in range(len(views))
        )
        entropy -= joint / len(views) * math.log(joint / len(views))
    return entropy + float((probs[:, chosen] * probs[:, chosen].log()).sum(2).mean(0).sum())


def reference(views, budget):
    chosen, gains = [], []
    for _ in range(budget):
        values = {i: information(views, [*chosen, i]) for i in range(views.shape[1]) if i not in chosen}
        best = max(values, key=lambda i: (round(values[i], 9), -i))
        gains.append(values[best] - (information(views, chosen) if chosen else 0.0))
        chosen.append(best)
    return chosen, gains


def _draw(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("classes", "budget"), [(2, 5), (3, 4)])
def test_the_picks_are_those_of_the_paper_while_outcomes_are_counted(classes, budget):
    views = _views(4, 7, classes)
    picks, gains = batch_bald(views, budget, _draw(), memory_limit=2000)
    expected = reference(views, budget)
    assert picks.tolist() == expected[0] and gains.tolist() == pytest.approx(expected[1])


def test_drawn_outcomes_estimate_the_same():
    views = _views(4, 3, 3, seed=1)  # of three the third pick is certain: what is chosen for its estimate is biased
    exact, _ = batch_bald(views, 2, _draw())
    draws = [batch_bald(views, 3, _draw(seed), num_outcomes=8) for seed in range(60)]  # 8 drawn, not the 9 there are
    assert all(picks[:2].tolist() == exact.tolist() and len(set(picks.tolist())) == 3 for picks, _ in draws)
    assert len({float(gains[2]) for _, gains in draws}) > 1
    excess = [
        float(gains[2]) - (information(views, picks.tolist()) - information(views, picks[:2].tolist()))
        for picks, gains in draws
    ]
    assert sum(excess) / 60 == pytest.approx(0.0, abs=0.03)


def test_outcomes_of_many_labels_are_rarer_than_a_number_can_hold():
    views = torch.full((2, 121, 1000), 1e-3, dtype=torch.float64)
    outcomes = _Outcomes(views, _draw(), 3, 2**20)
    outcomes._picks = list(range(119))
    assert outcomes.add(119)  # p(outcome | view) is 1e-360
    assert outcomes.entropy() == pytest.approx(120 * math.log(1000))
    assert float(outcomes.joint_entropies(torch.tensor([120]))[0]) == pytest.approx(121 * math.log(1000))


def test_scales_change_nothing():
    views = _views(4, 8, 3, seed=2).double()
    outcomes = _Outcomes(views, _draw(), 50, 2**20)
    for pick in range(5):
        outcomes.add(pick)
    plain = outcomes._given * outcomes._log_scale.exp()[:, None]
    joint = torch.einsum("mv,vuc->muc", plain, views[:, 5:]) / 4
    weights = 1 / (50 * plain.mean(1))
    expected = -(torch.xlogy(joint, joint).sum(2) * weights[:, None]).sum(0)
    assert torch.allclose(outcomes.joint_entropies(torch.arange(5, 8)), expected, rtol=1e-12)
    assert outcomes.entropy() == pytest.approx(-float(plain.mean(1).log().mean()))


def test_by_hand_a_copy_says_nothing_new_and_bald_does_not_see_it():
    # two views that disagree surely on images 0 and 1, copies of each other, and half on image 2
    views = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0], [0.5, 0.5]]])
    picks, gains = batch_bald(views, 3, _draw())
    assert picks.tolist()[0] == 0 and gains.tolist() == pytest.approx([math.log(2), 0.0, 0.0], abs=1e-9)


def test_the_first_pick_is_balds(context_of):
    views = _views(5, 9, 3)
    context = context_of(number=9, budget=1, views=views)
    assert BatchBald().select(context).index.tolist() == Bald().select(context).index.tolist()


def test_the_acquisition_repeats_itself_and_wants_a_softmax(context_of):
    context = context_of(number=9, budget=5, views=_views(5, 9, 3), seed=3)
    query, again = (BatchBald(num_outcomes=20).select(context) for _ in range(2))
    assert query.index.tolist() == again.index.tolist() and torch.equal(query.utility, again.utility)
    assert len(set(query.index.tolist())) == 5
    with pytest.raises(ValueError, match="views must be a softmax over classes for BatchBALD, got sigmoid"):
        BatchBald().select(context_of(number=9, views=_views(5, 9, 3), form=Form.SIGMOID))
    with pytest.raises(ConfigError, match=re.escape("acquisition.num_outcomes must be >= 1, got 0")):
        BatchBald(0)


def test_what_cannot_be_is_refused():
    for views, budget, outcomes, message in (
        (torch.rand(3, 2), 1, 5, "views must be Float[V U C], got shape [3, 2]"),
        (_views(2, 3, 2), 4, 5, "budget must be in [0, 3] candidates, got 4"),
        (torch.full((2, 3, 2), torch.nan), 1, 5, "views must be finite and >= 0, got a mutual information of NaN"),
        (_views(2, 3, 2), 1, 0, "num_outcomes must be >= 1, got 0"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            batch_bald(views, budget, _draw(), num_outcomes=outcomes)


def test_nothing_is_asked_for():
    assert [len(part) for part in batch_bald(_views(2, 3, 2), 0, _draw())] == [0, 0]
