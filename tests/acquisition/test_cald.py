"""CALD's two stages against the formulas written as loops in double precision, and by hand."""

import math
import random

import numpy as np
import pytest
import torch
from rehearsals import rehearse
from scipy.stats import entropy

from alpl.acquisition import Cald, ClassSpread, Context, Then
from alpl.acquisition.cald import jensen_shannon
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Form, Need, Posterior, Predictions

CLASSES, VIEWS = 3, 2


def context_of(images, counts=(1, 1, 1), budget=1, seed=0, form=Form.BACKGROUND):
    """``images`` hold objects and, of each view, the highest score of each class.

    An object is (score, label, own posterior, [(IoU, posterior) of each view]); None in a view that shows nothing.
    Unlabeled image u has dataset index 2 u + 1.
    """
    number = len(images)
    pool = Pool.create(2 * number + 1, torch.arange(0, 2 * number + 1, 2))
    objects = [each for found, _ in images for each in found]
    width = CLASSES + (form is Form.BACKGROUND)
    nothing = (math.nan, [math.nan] * width)
    partners = [[partner or nothing for partner in each[3]] for each in objects]
    views = [[each[2] for each in objects], *([p[v][1] for p in partners] for v in range(VIEWS))]
    unlabeled = Predictions(
        index=pool.unlabeled,
        row=torch.tensor([u for u, (found, _) in enumerate(images) for _ in found], dtype=torch.long),
        labels=torch.tensor([each[1] for each in objects], dtype=torch.long),
        scores=torch.tensor([each[0] for each in objects], dtype=torch.float64),
        views=Posterior(torch.tensor(views, dtype=torch.float64).view(1 + VIEWS, -1, width), form),
        view_ious=torch.tensor([[iou for iou, _ in each] for each in partners], dtype=torch.float64).view(-1, VIEWS),
        view_scores=torch.tensor([scores for _, scores in images], dtype=torch.float64).view(-1, VIEWS, CLASSES),
    )
    return Context(pool, budget, seed, unlabeled=unlabeled, class_counts=torch.tensor(counts))


def slow_references(objects, released):
    """The released code's: by score, 50 places of more than 40, some of them twice."""
    objects = sorted(objects, key=lambda each: -each[0])
    if released and len(objects) > 40:
        return [objects[round(place)] for place in np.linspace(0, len(objects) - 1, 50)]
    return objects


def slow_value(objects, base, released, form):
    """M of an image, smallest first chosen."""
    skipped, values = int(form is Form.BACKGROUND), []
    if not objects:
        return 0.0
    for view in range(VIEWS):
        least = 1.0 if released else math.inf
        for _, _, p, partners in slow_references(objects, released):
            if partners[view] is None:
                least = 0.0
                break
            iou, q = partners[view]
            p, q = np.array(p), np.array(q)
            middle = (p / p.sum() + q / q.sum()) / 2
            js = (entropy(p, middle) + entropy(q, middle)) / 2  # which sees to a sum of 1
            m = iou + (1 - js) * (p[skipped:].max() + q[skipped:].max()) / 2
            least = min(least, abs(m - base))
        values.append(least)
    return sum(values) / VIEWS


def slow_spread(objects, view_scores, counts, num_labeled, released):
    own = [0.0] * CLASSES
    for score, label, *_ in slow_references(objects, released):
        own[label] = max(own[label], score)
    seen = [own, *view_scores] if objects or not released else [own]
    mean = [sum(each[c] for each in seen) / len(seen) for c in range(CLASSES)]
    if released and not any(mean):
        return 1.0

    def softmax(values):
        powers = [math.exp(value) for value in values]
        return np.array(powers) / sum(powers)

    p, q = softmax([count / num_labeled for count in counts]), softmax(mean)
    return (entropy(p, (p + q) / 2) + entropy(q, (p + q) / 2)) / 2


def drawn(draw, form):
    width = CLASSES + (form is Form.BACKGROUND)

    def probs():
        values = [draw.random() + 1e-3 for _ in range(width)]
        return values if form is Form.SIGMOID else [value / sum(values) for value in values]

    images = []
    for _ in range(draw.randint(1, 5)):
        shown = [draw.random() < 0.8 for _ in range(VIEWS)]
        number = draw.choice([0, 1, 2, 3, draw.randint(41, 70)]) if draw.random() < 0.3 else draw.randint(0, 3)
        objects = [
            (draw.random(), draw.randrange(CLASSES), probs(), [(draw.random(), probs()) if s else None for s in shown])
            for _ in range(number)
        ]
        images.append((objects, [[draw.random() * draw.randint(0, 1) * s for _ in range(CLASSES)] for s in shown]))
    return images


@pytest.mark.parametrize("first", range(0, 1000, 20))
@pytest.mark.sample(1)
def test_both_stages_equal_loops(first) -> None:
    """1,000 random pools, of both forms and both rules."""
    for seed in range(first, first + 20):
        draw = random.Random(seed)
        form, rules = draw.choice([Form.BACKGROUND, Form.SIGMOID]), draw.choice(["as_written", "as_released"])
        images, released = drawn(draw, form), rules == "as_released"
        counts, base = [draw.randint(0, 20) for _ in range(CLASSES)], draw.choice([1.3, draw.uniform(0, 2)])
        context = context_of(images, counts, form=form)
        values = [-slow_value(objects, base, released, form) for objects, _ in images]
        np.testing.assert_allclose(Cald(base, rules).utility(context), values, rtol=1e-9, atol=1e-9)
        number = len(context.pool.labeled)
        spread = [slow_spread(objects, seen, counts, number, released) for objects, seen in images]
        np.testing.assert_allclose(ClassSpread(rules).utility(context), spread, rtol=1e-9, atol=1e-9)


SURE, OTHER = [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]
NONE = [[0.0] * CLASSES] * VIEWS


def test_values_by_hand() -> None:
    """Two objects: one found again as it was, m = 1 + 1; the other as another class elsewhere, m = (1 - ln 2) / 1."""
    again = (0.9, 0, SURE, [(1.0, SURE), (1.0, SURE)])
    moved = (0.8, 0, SURE, [(0.0, OTHER), (0.25, OTHER)])
    utility = Cald().utility(context_of([([again], NONE), ([again, moved], NONE), ([moved], NONE), ([], NONE)]))
    apart = 1 - math.log(2)
    expected = [0.7, (0.7 + 0.7) / 2, (1.3 - apart + 1.05 - apart) / 2, 0.0]
    expected[1] = (min(0.7, 1.3 - apart) + min(0.7, 1.05 - apart)) / 2
    assert utility.tolist() == pytest.approx([-each for each in expected])
    assert not math.copysign(1, float(utility[3])) < 0  # an image where nothing was found comes first


def test_the_limit_of_one_is_the_released_code_s() -> None:
    lost = (0.9, 0, [0.9, 0.1, 0, 0], [(0.0, [0.9, 0, 0.1, 0]), (0.0, [0.9, 0, 0.1, 0])])
    context = context_of([([lost], NONE)])
    expected = 1.3 - 0.1 * (1 - 0.1 * math.log(2))
    assert float(Cald().utility(context)) == pytest.approx(-expected) and expected > 1
    assert float(Cald(rules="as_released").utility(context)) == -1.0


def test_a_view_that_shows_nothing_counts_as_zero() -> None:
    half = (0.9, 0, SURE, [(1.0, SURE), None])
    assert float(Cald().utility(context_of([([half], NONE)]))) == pytest.approx(-0.35)


def test_divergences_by_hand() -> None:
    p, q = torch.tensor([[0.5, 0.5], [1, 0], [1, 0]]).double(), torch.tensor([[0.5, 0.5], [0, 1], [0.5, 0.5]]).double()
    third = (math.log(4 / 3) + 0.5 * math.log(2 / 3) + 0.5 * math.log(2)) / 2
    assert jensen_shannon(p, q).tolist() == pytest.approx([0, math.log(2), third])


def test_classes_that_are_labeled_as_often_come_last() -> None:
    found = [(0.9, label, SURE, [None, None]) for label in range(CLASSES)]
    views = [[float(label == seen) for seen in range(CLASSES)] for label in range(CLASSES)]
    images = [([found[label]], [views[label]] * VIEWS) for label in range(CLASSES)]
    context = context_of(images, counts=(4, 0, 0), budget=3)  # four labeled images, an object of class 0 on each
    order = (ClassSpread().select(context).index // 2).tolist()
    assert order[-1] == 0 and sorted(order) == [0, 1, 2]


def test_images_without_detections_first_as_released() -> None:
    empty, seen = ([], [[0.0, 0.9, 0.0]] * VIEWS), ([(0.9, 2, OTHER, [None, None])], [[0.0, 0.0, 0.9]] * VIEWS)
    context = context_of([seen, empty], counts=(4, 0, 0))
    released = ClassSpread("as_released").utility(context)
    assert float(released[1]) == 1.0 and 0 < float(released[0]) < math.log(2)
    written = ClassSpread().utility(context)
    assert float(written[1]) < math.log(2)
    context = context_of([([], NONE)] * 4, budget=2)
    assert len(ClassSpread("as_released").select(context).index) == 2  # never more than the budget


def test_edges() -> None:
    nothing = context_of([([], NONE)] * 5, budget=5)
    both = Then(Cald(), ClassSpread(), 1.2)
    assert sorted(both.select(nothing).index.tolist()) == [1, 3, 5, 7, 9]  # ties, by a draw
    assert torch.equal(both.select(nothing).index, both.select(nothing).index)
    with pytest.raises(ValueError, match="budget must be in \\[0, 5\\] images, got 6"):
        both.select(context_of([([], NONE)] * 5, budget=6))
    of_none = context_of([], budget=0)
    assert len(Cald().utility(of_none)) == len(ClassSpread().utility(of_none)) == len(both.select(of_none).index) == 0


def test_arguments_and_needs() -> None:
    for base in (-0.1, 2.1, math.nan):
        with pytest.raises(ConfigError, match="base must be in \\[0, 2\\]"):
            Cald(base)
    for kind in (Cald, ClassSpread):
        with pytest.raises(ConfigError, match="rules must be as_written or as_released, got 'free'"):
            kind(rules="free")
    both = Then(Cald(), ClassSpread(), 1.2)
    assert both.needs == Need.AUGMENTED | Need.CLASS_COUNTS
    rehearse(both, both.needs | Need.BOXES, CLASSES)
