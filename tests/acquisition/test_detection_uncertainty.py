import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.acquisition import Context
from alpl.acquisition import object_ranking as module
from alpl.acquisition.detection_uncertainty import DetectionUncertainty, normalized_entropy
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Form, Need, Posterior, Predictions

LOG2 = math.log(2)


def _context(row, probs, scores=None, *, number, budget=1, form=Form.BACKGROUND):
    """Detections of ``number`` unlabeled images; image u has dataset index 2 u + 1."""
    pool = Pool.create(2 * number + 1, torch.arange(0, 2 * number + 1, 2))
    probs = torch.as_tensor(probs, dtype=torch.float64).view(len(row), -1 if len(row) else 3)
    unlabeled = Predictions(
        index=pool.unlabeled,
        row=torch.tensor(row, dtype=torch.long),
        posterior=Posterior(probs, form),
        scores=None if scores is None else torch.tensor(scores, dtype=torch.float64),
    )
    return Context(pool, budget, seed=0, unlabeled=unlabeled)


# [I C], output 0 is the background
SURE, HALF, EVEN, QUARTER = [0.0, 1.0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4, [0.0, 0.25, 0.75, 0]


def _binary(p):
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [("max", [2 * LOG2, 0.0, -1.0]), ("mean", [1.5 * LOG2, 0.0, -1.0]), ("sum", [3 * LOG2, 0.0, -1.0])],
)
def test_each_reduction_by_hand(reduction, expected):
    context = _context([0, 0, 1], [HALF, EVEN, SURE], number=3, budget=3)
    query = DetectionUncertainty(reduction=reduction, empty=-1.0).select(context)
    assert query.pool_utility.tolist() == pytest.approx(expected)
    assert query.index.tolist() == [1, 3, 5]


def test_of_score_is_the_binary_entropy_of_each_detection_s_own_score():
    posterior = [[0.9, 0.8], [0.9, 0.8], [0.5, 0.1]]  # one place found as both classes, and another place
    context = _context([0, 0, 2], posterior, [0.9, 0.8, 0.5], number=3, form=Form.SIGMOID)
    acquisition = DetectionUncertainty("entropy", "sum", of="score")
    assert acquisition.needs is Need.BOXES
    assert acquisition.utility(context).tolist() == pytest.approx([_binary(0.9) + _binary(0.8), 0.0, LOG2])
    above = DetectionUncertainty("entropy", "sum", score_thresh=0.85, of="score")
    assert above.utility(context).tolist() == pytest.approx([_binary(0.9), 0.0, 0.0])
    of_margin = DetectionUncertainty("margin", "max", of="score").utility(context).tolist()
    assert of_margin == pytest.approx([1 - 0.6, 0.0, 1.0])
    assert DetectionUncertainty(of="score").utility(_context([], [], [], number=2)).tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="predictions must have scores where of=score, got none"):
        DetectionUncertainty(of="score").utility(_context([0], [HALF], number=1))


# scores that are not the classes' probabilities, as those of a detector with centerness: 0.9, 0.3 and 0.6 are
CENTERED = [0, 0, 2], [[0.9, 0.2], [0.1, 0.3], [0.6, 0.5]], [0.5, 0.04, 0.7]


def _labeled(labels, *given, **options):
    context = _context(*given, **options)
    object.__setattr__(context.unlabeled, "labels", torch.tensor(labels, dtype=torch.long))
    return context


def test_of_class_is_the_binary_entropy_of_the_probability_of_its_own_class():
    context = _labeled([0, 1, 0], *CENTERED, number=3, form=Form.SIGMOID)
    acquisition = DetectionUncertainty("entropy", "sum", of="class")
    assert acquisition.needs is Need.POSTERIOR
    assert acquisition.utility(context).tolist() == pytest.approx([_binary(0.9) + _binary(0.3), 0.0, _binary(0.6)])
    above = DetectionUncertainty("entropy", "sum", score_thresh=0.3, of="class")  # not of the scores
    assert above.utility(context).tolist() == pytest.approx([_binary(0.9) + _binary(0.3), 0.0, _binary(0.6)])
    higher = DetectionUncertainty("entropy", "sum", score_thresh=0.7, of="class")
    assert higher.utility(context).tolist() == pytest.approx([_binary(0.9), 0.0, 0.0])
    background = _labeled([2], [0], [[0.1, 0.2, 0.1, 0.6]], number=1)  # output 0 is no class
    assert DetectionUncertainty(of="class").utility(background).tolist() == pytest.approx([_binary(0.6)])
    nothing = _labeled([], [], [], [], number=2)
    assert DetectionUncertainty(of="class").utility(nothing).tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="predictions must have labels where of=class or of=auto, got none"):
        DetectionUncertainty(of="class").utility(_context([0], [HALF], number=1))


def test_auto_is_what_the_head_decides():
    given = {"measure": "entropy", "reduction": "sum", "score_thresh": 0.05}
    assert DetectionUncertainty(of="auto").needs is Need.POSTERIOR
    for form, of in ((Form.SIGMOID, "class"), (Form.BACKGROUND, "posterior"), (Form.SOFTMAX, "posterior")):
        row, values, scores = CENTERED
        probs = torch.tensor(values, dtype=torch.float64)
        probs = probs if form is Form.SIGMOID else probs / probs.sum(-1, keepdim=True)
        context = _labeled([0, 0, 0], row, probs, scores, number=3, form=form)
        expected = DetectionUncertainty(**given, of=of).select(context)
        found = DetectionUncertainty(**given, of="auto").select(context)
        assert torch.equal(found.pool_utility, expected.pool_utility)
        assert torch.equal(found.object_utility.isnan(), expected.object_utility.isnan())


def test_without_centerness_class_and_score_are_one():
    draws = torch.Generator().manual_seed(0)
    probs, labels = torch.rand(40, 5, generator=draws, dtype=torch.float64), torch.randint(5, (40,), generator=draws)
    scores = probs.gather(1, labels[:, None]).flatten().tolist()
    context = _labeled(labels.tolist(), [k // 2 for k in range(40)], probs, scores, number=20, form=Form.SIGMOID)
    both = [DetectionUncertainty("entropy", "sum", score_thresh=0.3, of=of) for of in ("class", "score")]
    assert torch.equal(*(each.utility(context) for each in both))


def test_measures_of_table_3_rank_otherwise_than_of_two_ways():
    scores = [0.9, 0.5, 0.2]
    context = _labeled([0] * 3, [0, 1, 2], [[s, 0.6] for s in scores], scores, number=3, form=Form.SIGMOID)

    def of(measure, of):
        return DetectionUncertainty(measure, of=of).utility(context).tolist()

    assert of("posterior", "class") == pytest.approx([0.1, 0.5, 0.8]) == of("posterior", "score")
    assert of("least_confidence", "class") == pytest.approx([0.1, 0.5, 0.2])  # min(s, 1 - s)
    assert of("margin", "class") == pytest.approx([0.2, 1.0, 0.4])  # twice that
    assert of("margin", "posterior") == pytest.approx([1 - 0.3, 1 - 0.1, 1 - 0.4])  # of the two largest classes


@pytest.mark.parametrize("of", ["posterior", "class", "score"])
def test_the_released_code_s_filter_leaves_small_and_narrow_boxes_out(of):
    row, probs = [0, 0, 1, 1], [[0.9], [0.5], [0.5], [0.8]]
    context = _labeled([0] * 4, row, probs, [0.9, 0.5, 0.5, 0.8], number=2, form=Form.SIGMOID)
    boxes = torch.tensor([[0, 0, 30, 30], [0, 0, 12, 12], [0, 0, 90, 17], [80, 0, 130, 40]], dtype=torch.float32)
    object.__setattr__(context.unlabeled, "boxes", boxes)
    object.__setattr__(context, "sizes", torch.tensor([[50, 50], [50, 100]]))
    acquisition = DetectionUncertainty(reduction="sum", of=of, valid="as_released")
    assert Need.BOXES | Need.SIZES in acquisition.needs and Need.SIZES not in DetectionUncertainty(of=of).needs
    assert acquisition.utility(context).tolist() == pytest.approx([_binary(0.9), _binary(0.8)])
    everything = DetectionUncertainty(reduction="sum", of=of).utility(context).tolist()
    assert everything == pytest.approx([_binary(0.9) + LOG2, LOG2 + _binary(0.8)])


def test_each_measure_by_hand():
    context = _context([0, 1, 2], [HALF, EVEN, QUARTER], number=3)

    def of(**options):
        return DetectionUncertainty(**options).utility(context).tolist()

    assert of(measure="entropy") == pytest.approx([LOG2, 2 * LOG2, _binary(0.25)])
    assert of(measure="entropy", normalize=True) == pytest.approx([0.5, 1.0, _binary(0.25) / math.log(4)])
    assert of(measure="margin") == pytest.approx([1.0, 1.0, 0.5])
    assert of(measure="least_confidence") == pytest.approx([0.5, 0.75, 0.25])  # foreground only


def test_independent_outputs():
    context = _context([0, 1], [[0.5, 0.5], [0.25, 0.25]], number=2, form=Form.SIGMOID)
    assert DetectionUncertainty().utility(context).tolist() == pytest.approx([2 * LOG2, 2 * _binary(0.25)])
    normalized = DetectionUncertainty(normalize=True).utility(context).tolist()
    assert normalized == pytest.approx([1.0, _binary(0.25) / LOG2])


def test_a_detection_of_exactly_the_threshold_counts_and_below_it_does_not():
    context = _context([0, 0, 1, 2], [HALF, EVEN, HALF, EVEN], [0.5, 0.499, 0.9, 0.1], number=3)
    utility = DetectionUncertainty(score_thresh=0.5, empty=-2.0).utility(context).tolist()
    assert utility == pytest.approx([LOG2, LOG2, -2.0])
    assert DetectionUncertainty().utility(context).tolist() == pytest.approx([2 * LOG2, LOG2, 2 * LOG2])


@st.composite
def predictions(draw):
    number, count = draw(st.integers(1, 5)), draw(st.integers(0, 12))
    draws = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    row = sorted(torch.randint(number, (count,), generator=draws).tolist())
    form, outputs = draw(st.sampled_from(list(Form))), draw(st.integers(2, 4))
    logits = 2 * torch.randn(count, outputs, generator=draws, dtype=torch.float64)
    probs = logits.sigmoid() if form is Form.SIGMOID else logits.softmax(-1)
    return row, probs, torch.rand(count, generator=draws).tolist(), number, form


def _measured(measure, p, form):
    if measure == "entropy":
        return sum(_binary(q) for q in p) if form is Form.SIGMOID else -sum(q * math.log(q) for q in p)
    if measure == "margin":
        first, second = sorted(p)[:-3:-1]
        return 1 - (first - second)
    return 1 - max(p[1:] if form is Form.BACKGROUND else p)


@given(
    predictions(),
    st.sampled_from(["entropy", "margin", "least_confidence"]),
    st.sampled_from(["max", "mean", "sum"]),
    st.sampled_from([0.0, 0.3, 1.0]),
)
def test_it_is_the_loop_over_the_detections(given, measure, reduction, thresh):
    row, probs, scores, number, form = given
    expected = []
    for image in range(number):
        chosen = [k for k in range(len(row)) if row[k] == image and scores[k] >= thresh]
        values = [_measured(measure, probs[k].tolist(), form) for k in chosen]
        reduced = {"max": max, "sum": sum, "mean": lambda v: sum(v) / len(v)}[reduction]
        expected.append(reduced(values) if values else 0.125)
    acquisition = DetectionUncertainty(measure, reduction, empty=0.125, score_thresh=thresh)
    utility = acquisition.utility(_context(row, probs, scores, number=number, form=form))
    assert utility.tolist() == pytest.approx(expected)


def test_the_chunks_do_not_matter(monkeypatch):
    probs = torch.rand(50, 4, generator=torch.Generator().manual_seed(0)).softmax(-1)
    context = _context([k // 2 for k in range(50)], probs, number=30)
    whole = DetectionUncertainty().utility(context)
    monkeypatch.setattr(module, "CHUNK", 7)
    assert torch.equal(DetectionUncertainty().utility(context), whole)


def test_half_precision_is_only_for_storage():
    probs = torch.rand(9, 60, generator=torch.Generator().manual_seed(0)).softmax(-1).half()
    context, single = (_context(range(9), torch.zeros(9, 1), number=9) for _ in range(2))
    for its, stored in ((context, probs), (single, probs.float())):
        object.__setattr__(its.unlabeled, "posterior", Posterior(stored, Form.BACKGROUND))
    assert torch.equal(DetectionUncertainty().utility(context), DetectionUncertainty().utility(single))


def test_the_mean_of_the_views_is_measured_where_that_is_asked_for():
    acquisition = DetectionUncertainty(of="mean_of_views")
    assert acquisition.needs is Need.VIEWS and DetectionUncertainty().needs is Need.POSTERIOR
    context = _context([0, 1], [EVEN, EVEN], number=2)
    views = torch.tensor([[SURE, HALF], [[0.0, 0, 1.0, 0], HALF]], dtype=torch.float64)
    object.__setattr__(context.unlabeled, "views", Posterior(views, Form.BACKGROUND))
    object.__setattr__(context.unlabeled, "posterior", None)
    assert acquisition.utility(context).tolist() == pytest.approx([LOG2, LOG2])  # SURE of two classes in turn: HALF
    normalized = DetectionUncertainty(normalize=True, of="mean_of_views").utility(context).tolist()
    assert normalized == pytest.approx([0.5, 0.5])


def test_no_detection_at_all():
    context = _context([], torch.zeros(0, 4), [], number=3, budget=2)
    query = DetectionUncertainty(score_thresh=0.5, empty=0.5).select(context)
    assert query.utility.tolist() == [0.5, 0.5] and len(set(query.index.tolist())) == 2


def test_a_classifier_is_the_case_of_one_instance_an_image(context_of):
    assert DetectionUncertainty().needs is Need.POSTERIOR
    query = DetectionUncertainty("least_confidence").select(context_of([[0.9, 0.1], [0.6, 0.4]]))
    assert query.index.tolist() == [3] and query.utility.tolist() == pytest.approx([0.4])


def test_one_output_is_certain_unless_it_is_independent():
    assert normalized_entropy(Posterior(torch.ones(2, 1))).tolist() == [0.0, 0.0]
    assert normalized_entropy(Posterior(torch.tensor([[0.5], [1.0]]), Form.SIGMOID)).tolist() == pytest.approx([1, 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"measure": "bald"},
            "measure must be one of entropy, margin, margin_squared, least_confidence, posterior, got 'bald'",
        ),
        ({"of": "views"}, "of must be one of posterior, mean_of_views, score, class, auto, got 'views'"),
        ({"measure": "posterior", "of": "auto"}, "of must be score or class for measure 'posterior', got 'auto'"),
        ({"valid": True}, "valid must be as_written or as_released, got True"),
        ({"reduction": "median"}, "reduction must be one of max, mean, sum, got 'median'"),
        ({"empty": math.nan}, "empty must be finite, got nan"),
        ({"score_thresh": 1.1}, r"score_thresh must be in \[0, 1\], got 1.1"),
        ({"score_thresh": -0.1}, r"score_thresh must be in \[0, 1\], got -0.1"),
        ({"measure": "margin", "normalize": True}, "normalize must be false for measure 'margin'"),
    ],
)
def test_options_that_cannot_be_are_errors(options, message):
    with pytest.raises(ConfigError, match=message):
        DetectionUncertainty(**options)


def test_a_threshold_needs_scores():
    with pytest.raises(ValueError, match=r"predictions must have scores for score_thresh 0\.5, got none"):
        DetectionUncertainty(score_thresh=0.5).select(_context([0], [HALF], number=1))


def test_the_squared_margin_is_summed_by_hand():
    """Brust et al. 2019: (1 - .1)^2 + (1 - .8)^2 of the two detections of one image."""
    probs = torch.tensor([[0.5, 0.4, 0.1], [0.1, 0.0, 0.9]])
    predictions = Predictions(torch.tensor([0]), torch.tensor([0, 0]), posterior=Posterior(probs, Form.BACKGROUND))
    context = Context(Pool.create(1, torch.tensor([], dtype=torch.long)), 1, 0, unlabeled=predictions)
    ranking = DetectionUncertainty("margin_squared", "sum")
    assert ranking.utility(context).tolist() == pytest.approx([0.9**2 + 0.2**2])
    # of the foreground alone, .4 and .1 to .8 and .2, 0 and .9 to 0 and 1 (the background stands first)
    of_classes = DetectionUncertainty("margin_squared", "sum", foreground=True)
    assert of_classes.utility(context).tolist() == pytest.approx([0.4**2 + 0.0])


def test_the_foreground_alone_is_of_posteriors():
    with pytest.raises(ConfigError, match="of must be posterior where foreground is true, got 'score'"):
        DetectionUncertainty("margin", of="score", foreground=True)
