import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.acquisition import Context
from alpl.acquisition.flip_inconsistency import FlipInconsistency, inconsistency
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Form, Need, Posterior, Predictions

LOG3 = math.log(3)


def _context(row, probs, flipped, scores, *, number, budget=1, seed=0, form=Form.BACKGROUND):
    """Detections of ``number`` unlabeled images, and their partners; image u has dataset index 2 u + 1."""
    pool = Pool.create(2 * number + 1, torch.arange(0, 2 * number + 1, 2))
    probs, flipped = (
        torch.as_tensor(p, dtype=torch.float64).view(len(row), -1 if len(row) else 3) for p in (probs, flipped)
    )
    unlabeled = Predictions(
        index=pool.unlabeled,
        row=torch.tensor(row, dtype=torch.long),
        scores=None if scores is None else torch.tensor(scores, dtype=torch.float64),
        views=Posterior(torch.stack([probs, flipped]), form),
    )
    return Context(pool, budget, seed, unlabeled=unlabeled)


# --- Eq. 7, object by object


def _entropy(p):
    return -sum(q * math.log(q) for q in p) / math.log(len(p))


def _divergence(p, q):
    return sum((a * math.log(a / b) + b * math.log(b / a)) / 2 for a, b in zip(p, q, strict=True))


def _values(row, probs, flipped, scores, number, thresh, value):
    """The largest value of each image's objects."""
    return [
        max(
            (value(probs[k], flipped[k]) for k in range(len(row)) if row[k] == image and scores[k] >= thresh),
            default=0.0,
        )
        for image in range(number)
    ]


@st.composite
def detections(draw):
    number, count = draw(st.integers(1, 6)), draw(st.integers(0, 14))
    draws = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    row = sorted(torch.randint(number, (count,), generator=draws).tolist())
    outputs = draw(st.integers(2, 5))
    logits = 2 * torch.randn(2, count, outputs, generator=draws, dtype=torch.float64)
    probs, flipped = logits.softmax(-1).tolist()
    return row, probs, flipped, torch.rand(count, generator=draws).tolist(), number


@given(detections(), st.sampled_from([0.0, 0.5]))
def test_the_product_is_the_equation(given, thresh):
    row, probs, flipped, scores, number = given
    context = _context(row, probs, flipped, scores, number=number)
    expected = _values(*given, thresh, lambda p, q: _entropy(p) * _divergence(p, q))
    assert FlipInconsistency(score_thresh=thresh).utility(context).tolist() == pytest.approx(expected)
    alone = _values(*given, thresh, _divergence)
    assert FlipInconsistency("inconsistency", thresh).utility(context).tolist() == pytest.approx(alone)


@given(detections(), st.integers(1, 8))
def test_two_stages_are_the_released_code(given, candidates):
    row, probs, flipped, scores, number = given
    context = _context(row, probs, flipped, scores, number=number)
    utility = FlipInconsistency("two_stage", candidates=candidates).utility(context).tolist()
    doubt = _values(*given, 0.5, lambda p, _: _entropy(p))
    alone = _values(*given, 0.5, _divergence)
    ranked = sorted(range(number), key=lambda image: -doubt[image])[:candidates]
    # images without a detection, which tie, have no inconsistency either
    expected = [alone[image] if image in ranked else 0.0 for image in range(number)]
    assert utility == pytest.approx(expected)


# --- by hand

EVEN, THREE, SURE = [0.5, 0.5], [0.25, 0.75], [0.1, 0.9]


def test_the_divergence_by_hand():
    views = Posterior(torch.tensor([[THREE, EVEN, EVEN], [[0.75, 0.25], EVEN, THREE]]), Form.BACKGROUND)
    assert inconsistency(views).tolist() == pytest.approx([LOG3 / 2, 0.0, LOG3 / 8], abs=1e-6)


def test_independent_outputs_add_their_divergences():
    views = Posterior(torch.tensor([[[0.25, 0.25]], [[0.75, 0.75]]]), Form.SIGMOID)
    assert inconsistency(views).tolist() == pytest.approx([LOG3])


def test_the_views_may_change_places():
    probs = torch.rand(2, 9, 5, generator=torch.Generator().manual_seed(0)).softmax(-1)
    torch.testing.assert_close(inconsistency(Posterior(probs)), inconsistency(Posterior(probs.flip(0))))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_probabilities_that_underflowed_are_finite(dtype):
    views = Posterior(torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]], dtype=dtype))
    largest, none = inconsistency(views).tolist()
    assert largest == pytest.approx(-math.log(torch.finfo(dtype).tiny), rel=1e-2) and none == 0.0


def test_the_entropy_is_of_the_image_as_it_is_and_only_confident_objects_count():
    # image 0: unsure and inconsistent; 1: sure in the image, unsure in the mirror; 2: not confident; 3: no detection
    context = _context([0, 1, 2], [EVEN, THREE, EVEN], [THREE, EVEN, THREE], [0.5, 0.75, 0.499], number=4, budget=2)
    query = FlipInconsistency().select(context)
    sure = (2 * math.log(2) - 0.75 * LOG3) / math.log(2)
    assert query.pool_utility.tolist() == pytest.approx([LOG3 / 8, sure * LOG3 / 8, 0.0, 0.0])
    assert query.index.tolist() == [1, 3]
    assert FlipInconsistency().needs is Need.FLIP


def test_the_two_stages_may_look_at_different_objects():
    # image 0: one object unsure but consistent, the other sure but inconsistent. No object is both.
    other = [0.9, 0.1]
    context = _context([0, 0, 1], [EVEN, SURE, THREE], [EVEN, other, THREE], [0.9] * 3, number=2)
    gap = 0.8 * math.log(9)
    product = FlipInconsistency().utility(context).tolist()
    assert product == pytest.approx([_entropy(SURE) * gap, 0.0])
    assert FlipInconsistency("two_stage").utility(context).tolist() == pytest.approx([gap, 0.0])
    assert FlipInconsistency("inconsistency").utility(context).tolist() == pytest.approx([gap, 0.0])


def test_the_first_stage_drops_images_of_low_entropy():
    context = _context([0, 1, 2], [SURE, EVEN, THREE], [[0.9, 0.1], THREE, EVEN], [0.9] * 3, number=3, budget=3)
    query = FlipInconsistency("two_stage", candidates=2).select(context)
    assert query.pool_utility.tolist() == pytest.approx([0.0, LOG3 / 8, LOG3 / 8])
    assert set(query.index[:2].tolist()) == {3, 5}
    whole = FlipInconsistency("two_stage", candidates=3).utility(context)
    assert torch.equal(whole, FlipInconsistency("two_stage").utility(context))  # 3000 of 3 images
    assert whole.tolist() == pytest.approx([0.8 * math.log(9), LOG3 / 8, LOG3 / 8])


def test_only_objects_of_candidates_have_a_value_in_the_second_stage():
    context = _context([0, 1, 2], [SURE, EVEN, THREE], [[0.9, 0.1], THREE, EVEN], [0.9] * 3, number=3, budget=3)
    found = FlipInconsistency("two_stage", candidates=2).object_values(context)
    assert found.chosen.tolist() == [1, 2] and found.values.tolist() == pytest.approx([LOG3 / 8, LOG3 / 8])


def test_ties_at_the_border_of_the_first_stage_are_drawn_by_the_seed():
    def kept(seed):
        context = _context(range(10), [EVEN] * 10, [THREE] * 10, [0.9] * 10, number=10, seed=seed)
        return tuple((FlipInconsistency("two_stage", candidates=3).utility(context) > 0).nonzero().flatten().tolist())

    assert all(len(kept(seed)) == 3 and kept(seed) == kept(seed) for seed in range(5))
    counts = torch.zeros(10)
    for seed in range(500):
        counts[list(kept(seed))] += 1
    assert (counts - 150).abs().max() < 5 * (500 * 0.3 * 0.7) ** 0.5


@pytest.mark.parametrize("measure", ["product", "two_stage", "inconsistency"])
def test_no_detection_at_all(measure):
    context = _context([], torch.zeros(0, 3), torch.zeros(0, 3), [], number=4, budget=2)
    query = FlipInconsistency(measure).select(context)
    assert query.utility.tolist() == [0.0, 0.0] and len(set(query.index.tolist())) == 2


def test_all_detections_count_without_a_threshold():
    context = _context([0], [EVEN], [THREE], [0.0], number=1)
    assert FlipInconsistency(score_thresh=0.0).utility(context).tolist() == pytest.approx([LOG3 / 8])
    without = _context([0], [EVEN], [THREE], None, number=1)
    assert FlipInconsistency(score_thresh=0.0).utility(without).tolist() == pytest.approx([LOG3 / 8])


# --- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measure": "entropy"}, "measure must be one of product, two_stage, inconsistency, got 'entropy'"),
        ({"score_thresh": 2}, r"score_thresh must be in \[0, 1\], got 2"),
        ({"candidates": 0}, "candidates must be >= 1, got 0"),
    ],
)
def test_options_that_cannot_be_are_errors(options, message):
    with pytest.raises(ConfigError, match=message):
        FlipInconsistency(**options)


def test_a_threshold_needs_scores():
    with pytest.raises(ValueError, match=r"predictions must have scores for score_thresh 0\.5, got none"):
        FlipInconsistency().select(_context([0], [EVEN], [EVEN], None, number=1))


@pytest.mark.parametrize("shape", [(1, 3, 2), (3, 3, 2), (2, 3)])
def test_other_than_two_views_are_an_error(shape):
    with pytest.raises(ValueError, match=r"views must be \[2 I C\], the image and its flip, got shape"):
        inconsistency(Posterior(torch.zeros(shape)))


def test_without_views_it_says_what_it_needs(context_of):
    with pytest.raises(AssertionError, match=r"Need\.FLIP was declared"):
        FlipInconsistency().select(context_of([[0.5, 0.5]]))
