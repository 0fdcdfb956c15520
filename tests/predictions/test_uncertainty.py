import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.predictions import Form, Posterior
from alpl.predictions.uncertainty import entropy, least_confidence, margin, mutual_information

LN2 = math.log(2)


# --- slow references, one posterior (a list of floats) at a time


def _plogp(p):
    return p * math.log(p) if p > 0 else 0.0


def _entropy(probs, form):
    if form is Form.SIGMOID:
        return -sum(_plogp(p) + _plogp(1 - p) for p in probs)
    return -sum(_plogp(p) for p in probs)


def _least_confidence(probs, form):
    return 1 - max(probs[1:] if form is Form.BACKGROUND else probs)


def _margin(probs, form):
    if len(probs) == 1:
        probs = [probs[0], 1 - probs[0]] if form is Form.SIGMOID else [1.0, 0.0]
    first, second = sorted(probs, reverse=True)[:2]
    return 1 - (first - second)


def _mutual_information(views, form):
    mean = [sum(column) / len(views) for column in zip(*views, strict=True)]
    return _entropy(mean, form) - sum(_entropy(view, form) for view in views) / len(views)


@st.composite
def posteriors(draw, views=False):
    """Give ``Float64[I C]`` (or ``[V I C]``) of every form, from flat to one-hot, with exact zeros."""
    form = draw(st.sampled_from(Form))
    num_outputs = draw(st.integers(2 if form is Form.BACKGROUND else 1, 6))
    shape = (*((draw(st.integers(1, 5)),) if views else ()), draw(st.integers(0, 7)), num_outputs)
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    logits = torch.randn(shape, generator=random, dtype=torch.float64) * draw(st.sampled_from([0.0, 0.1, 1, 10, 1000]))
    return Posterior(logits.sigmoid() if form is Form.SIGMOID else logits.softmax(-1), form)


@pytest.mark.parametrize(
    ("fast", "slow"), [(entropy, _entropy), (least_confidence, _least_confidence), (margin, _margin)]
)
@given(posterior=posteriors())
def test_the_fast_version_is_the_slow_one(fast, slow, posterior):
    expected = torch.tensor([slow(row, posterior.form) for row in posterior.probs.tolist()], dtype=torch.float64)
    torch.testing.assert_close(fast(posterior), expected, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(
        fast(Posterior(posterior.probs.float(), posterior.form)), expected.float(), atol=1e-5, rtol=0
    )


# --- by hand

HALF = [0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    ("measure", "form", "probs", "expected"),
    [
        (entropy, Form.SOFTMAX, HALF, 1.5 * LN2),
        (entropy, Form.BACKGROUND, HALF, 1.5 * LN2),  # the background is an output as any other
        (entropy, Form.SIGMOID, [0.5, 0.5], 2 * LN2),
        (entropy, Form.SIGMOID, [0.25], 2 * LN2 - 0.75 * math.log(3)),
        (entropy, Form.SOFTMAX, [0.1] * 10, math.log(10)),
        (least_confidence, Form.SOFTMAX, HALF, 0.5),
        (least_confidence, Form.BACKGROUND, HALF, 0.75),
        (least_confidence, Form.BACKGROUND, [0.9, 0.1], 0.9),
        (least_confidence, Form.SIGMOID, [0.9, 0.8], 0.1),
        (margin, Form.SOFTMAX, HALF, 0.75),
        (margin, Form.BACKGROUND, [0.9, 0.06, 0.04], 0.16),
        (margin, Form.SIGMOID, [0.9, 0.8, 0.1], 0.9),
        (margin, Form.SIGMOID, [0.3], 0.6),  # 0.7 against 0.3
        (margin, Form.SOFTMAX, [0.5, 0.5], 1.0),
    ],
)
def test_by_hand(measure, form, probs, expected):
    value = measure(Posterior(torch.tensor([probs], dtype=torch.float64), form))
    assert value.tolist() == pytest.approx([expected], abs=1e-12)


@pytest.mark.parametrize("measure", [entropy, least_confidence, margin])
@pytest.mark.parametrize(
    ("form", "probs"),
    [
        (Form.SOFTMAX, [1.0, 0.0, 0.0]),
        (Form.BACKGROUND, [0.0, 1.0, 0.0]),
        (Form.SIGMOID, [1.0, 0.0]),
        (Form.SOFTMAX, [1.0]),
        (Form.SIGMOID, [1.0]),
    ],
)
def test_a_certain_posterior_has_no_uncertainty(measure, form, probs):
    value = measure(Posterior(torch.tensor([probs]), form))
    assert value.tolist() == [0.0]
    assert not value.signbit().any(), "0, not -0: it is shown to people"


@pytest.mark.parametrize("measure", [entropy, least_confidence, margin])
def test_no_instance_has_no_value(measure):
    assert measure(Posterior(torch.zeros(0, 3))).shape == (0,)


@pytest.mark.parametrize("measure", [entropy, least_confidence, margin])
def test_the_flat_posterior_is_the_most_uncertain(measure):
    random = torch.Generator().manual_seed(0)
    others = torch.randn(500, 4, generator=random).softmax(-1)
    assert (measure(Posterior(torch.full((1, 4), 0.25))) > measure(Posterior(others))).all()


@pytest.mark.parametrize("measure", [entropy, margin, least_confidence])
def test_nan_is_not_hidden(measure):
    with pytest.raises(ValueError, match="got nan"):
        measure(Posterior(torch.tensor([[float("nan"), 0.5, 0.5]])))


# --- BALD


@given(posteriors(views=True))
def test_bald_is_the_slow_one_and_lies_between_its_bounds(views):
    value = mutual_information(views)
    per_instance = views.probs.transpose(0, 1).tolist()
    expected = [max(_mutual_information(own, views.form), 0.0) for own in per_instance]
    torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=1e-12)
    assert (value >= 0).all()
    assert (value <= Posterior(views.probs.mean(0), views.form).entropy() + 1e-12).all()
    bits = views.probs.shape[-1] if views.form is Form.SIGMOID else 1
    assert (value <= bits * math.log(len(views.probs)) + 1e-12).all()


def test_bald_by_hand():
    agreeing_but_unsure = [[0.5, 0.5], [0.5, 0.5]]
    sure_but_disagreeing = [[1.0, 0.0], [0.0, 1.0]]
    in_between = [[1.0, 0.0], [0.5, 0.5]]  # H[(3/4, 1/4)] - ln 2 / 2
    views = torch.tensor([agreeing_but_unsure, sure_but_disagreeing, in_between], dtype=torch.float64).transpose(0, 1)
    expected = [0.0, LN2, 2 * LN2 - 0.75 * math.log(3) - LN2 / 2]
    assert mutual_information(Posterior(views)).tolist() == pytest.approx(expected, abs=1e-12)
    assert mutual_information(Posterior(views, Form.SIGMOID)).tolist() == pytest.approx([2 * e for e in expected])


def test_bald_of_one_view_is_zero():
    views = torch.rand(1, 6, 3, generator=torch.Generator().manual_seed(0)).softmax(-1)
    assert mutual_information(Posterior(views)).tolist() == [0.0] * 6


def test_rounding_makes_no_negative_value():
    views = torch.randn(200, 5, generator=torch.Generator().manual_seed(0)).softmax(-1).expand(7, 200, 5)
    value = mutual_information(Posterior(views))  # of equal views: zero but for the rounding of float32
    assert (value >= 0).all() and (value < 1e-6).all()
    assert (entropy(Posterior(views.mean(0))) < entropy(Posterior(views)).mean(0)).any(), "the case must occur"


@pytest.mark.parametrize("shape", [(4, 3), (3,), (2, 2, 4, 3)])
def test_bald_needs_a_view_axis(shape):
    with pytest.raises(ValueError, match=r"views must be \[V I C\], got shape"):
        mutual_information(Posterior(torch.rand(shape)))
