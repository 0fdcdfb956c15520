import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alpl.acquisition import ClassWeighted, Context, DifficultyWeights, Entropy, FrequencyWeights
from alpl.acquisition.detection_uncertainty import DetectionUncertainty
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Need, Predictions

ENTROPY = DetectionUncertainty("entropy", "sum", of="score", score_thresh=0.05)


def context_of(row, labels, scores, *, number, difficulty=None, counts=None):
    """Detections of ``number`` unlabeled images."""
    pool = Pool.create(2 * number + 1, torch.arange(0, 2 * number + 1, 2))
    unlabeled = Predictions(
        index=pool.unlabeled,
        row=torch.tensor(row, dtype=torch.long),
        labels=torch.tensor(labels, dtype=torch.long),
        scores=torch.tensor(scores),
        boxes=torch.zeros(len(row), 4),
    )
    known = {"difficulty": difficulty, "class_counts": counts}
    known = {name: None if value is None else torch.tensor(value) for name, value in known.items()}
    return Context(pool, 1, seed=0, unlabeled=unlabeled, **known)


def weights_of(alpha, beta, difficulty):
    context = context_of([], [], [], number=1, difficulty=difficulty)
    return DifficultyWeights(alpha, beta).of_classes(context).tolist()


def test_weights_of_the_published_settings_by_hand():
    assert weights_of(0.3, 0.2, [0.0, 0.5, 1.0]) == pytest.approx([1.0, 1.16051, 1.2], abs=1e-5)
    assert weights_of(0.3, 0.2, [0.2]) == pytest.approx([1 + 0.06 * math.log(1 + 27.0316 * 0.2)], abs=1e-5)


@pytest.mark.parametrize("alpha", [0.005, 0.3, 1e6])
def test_weights_are_finite_and_reach_from_1_to_1_and_beta(alpha):
    found = weights_of(alpha, 0.7, [0.0, 1e-30, 0.5, 1.0])
    assert found[0] == 1.0 and found == sorted(found) and found[-1] == pytest.approx(1.7)


def test_two_images_that_are_alike_differ_by_the_weight_of_their_class():
    context = context_of([0, 1], [0, 1], [0.3, 0.3], number=2, difficulty=[1.0, 0.0])
    hard, easy = ClassWeighted(ENTROPY, DifficultyWeights()).utility(context).tolist()
    assert hard / easy == pytest.approx(1.2)


def test_frequency_weights_are_one_less_the_share_of_the_labeled_objects():
    def weights(counts):
        return FrequencyWeights().of_classes(context_of([], [], [], number=1, counts=counts)).tolist()

    assert weights([6, 3, 1, 0]) == pytest.approx([0.4, 0.7, 0.9, 1.0])
    assert weights([0, 0]) == [1.0, 1.0] and weights([5]) == [0.0]


detections = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.floats(0, 1, width=32)), max_size=12)
difficulties = st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3)


def reference(found, difficulty, number, alpha, beta):
    """PPAL Eq. 5 in two ways, detection by detection."""
    values = [0.0] * number
    for row, label, score in found:
        if score >= 0.05:
            entropy = sum(-p * math.log(p) for p in (score, 1 - score) if p > 0)
            values[row] += (1 + alpha * beta * math.log(1 + (math.exp(1 / alpha) - 1) * difficulty[label])) * entropy
    return values


@settings(max_examples=40, deadline=None)
@given(detections, difficulties, st.floats(0.1, 2), st.floats(0, 3))
def test_the_utility_is_that_of_a_loop(found, difficulty, alpha, beta):
    found = sorted(found, key=lambda one: one[0])
    row, labels, scores = zip(*found, strict=True) if found else ((), (), ())
    context = context_of(row, labels, scores, number=4, difficulty=difficulty)
    utility = ClassWeighted(ENTROPY, DifficultyWeights(alpha, beta)).utility(context).tolist()
    assert utility == pytest.approx(reference(found, difficulty, 4, alpha, beta), rel=1e-4, abs=1e-5)
    order = torch.tensor([2, 0, 1])  # classes by other numbers
    renamed = [order.argsort()[label].item() for label in labels]
    other = context_of(row, renamed, scores, number=4, difficulty=torch.tensor(difficulty)[order].tolist())
    assert ClassWeighted(ENTROPY, DifficultyWeights(alpha, beta)).utility(other).tolist() == utility


@pytest.mark.parametrize("reduction", ["sum", "mean", "max"])
def test_without_beta_it_is_the_inner_ranking_bit_by_bit(reduction):
    inner = DetectionUncertainty("margin", reduction, empty=-2.0, of="score")
    context = context_of([0, 0, 2], [1, 0, 1], [0.3, 0.71, 0.9], number=3, difficulty=[0.4, 0.9])
    weighted = ClassWeighted(inner, DifficultyWeights(beta=0.0))
    assert torch.equal(weighted.utility(context), inner.utility(context))
    assert weighted.utility(context)[1] == -2.0
    ours, theirs = weighted.valued(context).objects, inner.valued(context).objects
    assert ours is not None and theirs is not None and torch.equal(ours, theirs)


def test_it_needs_what_both_need():
    assert ClassWeighted(ENTROPY, DifficultyWeights()).needs == Need.BOXES | Need.DIFFICULTY
    assert ClassWeighted(ENTROPY, FrequencyWeights()).needs == Need.BOXES | Need.CLASS_COUNTS


def test_weights_of_too_few_classes_are_refused():
    context = context_of([0], [2], [0.3], number=1, difficulty=[1.0, 0.0])
    with pytest.raises(ValueError, match="weights must be of 3 or more classes, got 2"):
        ClassWeighted(ENTROPY, DifficultyWeights()).utility(context)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DifficultyWeights(alpha=0.004), r"weights\.alpha must be finite and >= 0\.005, got 0\.004"),
        (lambda: DifficultyWeights(alpha=math.inf), "alpha must be finite"),
        (lambda: DifficultyWeights(beta=-0.1), r"weights\.beta must be finite and >= 0, got -0\.1"),
        (lambda: ClassWeighted(Entropy(), DifficultyWeights()), "must give each object a value, got Entropy"),
        (lambda: ClassWeighted(ENTROPY, [1.0]), "weights must be weights of classes, got list"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
