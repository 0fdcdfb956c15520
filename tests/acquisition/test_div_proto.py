"""ENMS and DivProto against the rules written as loops, and by hand."""

import math
import random

import pytest
import torch
from rehearsals import rehearse

from alpl.acquisition import Context, DetectionUncertainty, DivProto, Enms, Entropy
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Need, Predictions


def by_entropy():
    return DetectionUncertainty("entropy", "sum", of="score")


def context_of(images, counts, budget=1, seed=0):
    """``images`` hold (feature, class, score) for each detection; unlabeled image u has dataset index 2 u + 1."""
    number = len(images)
    pool = Pool.create(2 * number + 1, torch.arange(0, 2 * number + 1, 2))
    row = torch.tensor([u for u, objects in enumerate(images) for _ in objects], dtype=torch.long)
    every = [each for objects in images for each in objects]
    width = len(every[0][0]) if every else 2
    unlabeled = Predictions(
        index=pool.unlabeled,
        row=row,
        labels=torch.tensor([label for _, label, _ in every], dtype=torch.long),
        scores=torch.tensor([score for _, _, score in every], dtype=torch.float64),
        features=torch.tensor([feature for feature, _, _ in every], dtype=torch.float64).view(-1, width),
    )
    return Context(pool, budget, seed, unlabeled=unlabeled, class_counts=torch.tensor(counts))


def entropy(p):
    return -sum(x * math.log(x) for x in (p, 1 - p) if x)


def cosine(f, g):
    lengths = math.hypot(*f) * math.hypot(*g)
    return sum(x * y for x, y in zip(f, g, strict=True)) / lengths if lengths else 0.0


def slow_enms(objects, thresh):
    left, kept = list(objects), []
    while left:
        best = max(left, key=lambda each: entropy(each[2]))  # the first of equal ones
        left.remove(best)
        kept.append(best)
        left = [each for each in left if each[1] != best[1] or cosine(each[0], best[0]) <= thresh]
    return kept


def slow_prototypes(objects):
    found = {}
    for label in {label for _, label, _ in objects}:
        of_class = [(f, entropy(p)) for f, c, p in objects if c == label]
        total = sum(weight for _, weight in of_class)
        weights = [weight if total else 1.0 for _, weight in of_class]
        width = range(len(of_class[0][0]))
        found[label] = [
            sum(w * f[x] for (f, _), w in zip(of_class, weights, strict=True)) / sum(weights) for x in width
        ]
    return found


def slow_div_proto(images, counts, budget, enms, intra, inter, share, part):
    kept = [slow_enms(objects, enms) for objects in images]
    utility = [sum(entropy(p) for _, _, p in objects) for objects in kept]
    order = sorted(range(len(images)), key=lambda i: -utility[i])
    minority = sorted(range(len(counts)), key=lambda c: counts[c])[: max(int(share * len(counts)), 1)]
    quota = {c: part * budget / len(minority) for c in minority}
    chosen = []
    for i in order:
        if len(chosen) == budget or not minority or not part:
            break
        own = slow_prototypes(kept[i])
        others = [slow_prototypes(kept[j]) for j in chosen]
        largest = [max(cosine(own[c], o[c]) for o in others if c in o) for c in own if any(c in o for o in others)]
        best = {c: max((p for _, label, p in images[i] if label == c), default=0.0) for c in minority}
        if min(largest, default=0.0) < intra and max(best.values()) > inter:
            chosen.append(i)
            for c in [c for c in minority if best[c] > inter]:
                quota[c] -= 1
                if quota[c] <= 0:
                    minority.remove(c)
    return (chosen + [i for i in order if i not in chosen])[:budget]


def made_up(draw, number, classes):
    def detection():
        return [draw.gauss(0.3, 1) for _ in range(3)], draw.randrange(classes), draw.uniform(0.01, 0.99)

    return [[detection() for _ in range(draw.randint(0, 6))] for _ in range(number)]


def test_same_as_the_loops():
    draw, passed = random.Random(0), 0
    for case in range(60):
        number, classes = draw.randint(1, 14), draw.randint(1, 5)
        # images without objects tie at 0; their order is drawn, so at most one is left
        images = [objects for objects in made_up(draw, number, classes) if objects] + [[]]
        counts = draw.sample(range(20), classes)
        budget = draw.randint(0, len(images))
        options = (draw.choice([0.0, 0.5]), draw.choice([0.2, 0.7, 2.0]), draw.choice([0.1, 0.3, 0.6]))
        share, part = draw.choice([0.0, 0.5, 1.0]), draw.choice([0.0, 0.75, 1.0])
        acquisition = DivProto(Enms(by_entropy(), options[0]), options[1], options[2], share, part)
        query = acquisition.select(context_of(images, counts, budget))
        expected = slow_div_proto(images, counts, budget, *options, share, part)
        assert (query.index // 2).tolist() == expected, case
        utility = [sum(entropy(p) for _, _, p in slow_enms(objects, options[0])) for objects in images]
        assert query.pool_utility.tolist() == pytest.approx(utility)
        assert query.utility.tolist() == pytest.approx([utility[i] for i in expected])
        by_utility = sorted(range(len(images)), key=lambda i: -utility[i])[:budget]
        passed += expected != by_utility
    assert passed > 10  # the tests matter


def test_of_similar_objects_the_most_uncertain_counts():
    image = [([1.0, 0.0], 0, 0.9), ([2.0, 0.1], 0, 0.5), ([0.0, 1.0], 0, 0.8), ([1.0, 0.0], 1, 0.6)]
    found = Enms(by_entropy(), 0.5).object_values(context_of([image], [1, 1]))
    assert found.chosen.tolist() == [1, 2, 3]  # the first resembles the second, the last is of another class
    assert found.values.tolist() == pytest.approx([entropy(p) for p in (0.5, 0.8, 0.6)])
    kept = Enms(by_entropy(), 1.0).object_values(context_of([image], [1, 1]))
    assert kept.chosen.tolist() == [0, 1, 2, 3]


def test_what_a_suppressed_object_resembles_may_stay():
    # the second goes for the first, so it takes no other with it
    image = [([1.0, 0.0], 0, 0.5), ([1.0, 1.0], 0, 0.6), ([0.0, 1.0], 0, 0.7)]
    assert Enms(by_entropy(), 0.5).object_values(context_of([image], [1])).chosen.tolist() == [0, 2]


def test_an_image_like_a_chosen_one_waits_and_so_does_one_without_the_minority():
    images = [
        [([1.0, 0.0], 1, 0.5)],
        [([1.0, 0.1], 1, 0.55)],  # like the first
        [([0.0, 1.0], 0, 0.6)],  # not of the minority, class 1
        [([0.0, 1.0], 1, 0.7)],
    ]
    counts = [9, 1]
    acquisition = DivProto(Enms(by_entropy()), minority_budget=1.0)
    for budget, chosen in [(1, [0]), (2, [0, 3]), (3, [0, 3, 1]), (4, [0, 3, 1, 2])]:
        query = acquisition.select(context_of(images, counts, budget))
        assert (query.index // 2).tolist() == chosen
    # a part of 0.3 x 3 images is reached by the first: the rest goes by entropy
    query = DivProto(Enms(by_entropy()), minority_budget=0.3).select(context_of(images, counts, 3))
    assert (query.index // 2).tolist() == [0, 1, 2]


def test_certain_objects_have_a_plain_mean():
    # both of score 1: values of 0; the mean of the first image is along (1, 1), as the second is
    images = [[([2.0, 0.0], 0, 1.0), ([0.0, 2.0], 0, 1.0)], [([1.0, 1.0], 0, 1.0)], [([1.0, -1.0], 0, 1.0)]]
    for seed in range(6):
        chosen = DivProto(Enms(by_entropy())).select(context_of(images, [0], 2, seed)).index // 2
        assert sorted(chosen.tolist()) in ([0, 2], [1, 2])


def test_no_detections_at_all():
    query = DivProto(Enms(by_entropy())).select(context_of([[], [], []], [1, 2], 2))
    assert len(set(query.index.tolist())) == 2 and query.utility.tolist() == [0.0, 0.0]


def test_deterministic_and_rehearsed():
    images, acquisition = made_up(random.Random(1), 20, 4), DivProto(Enms(by_entropy()))
    one, again = (acquisition.select(context_of(images, [4, 3, 2, 1], 8)) for _ in range(2))
    assert torch.equal(one.index, again.index) and torch.equal(one.utility, again.utility)
    assert acquisition.needs == Need.BOXES | Need.FEATURES | Need.CLASS_COUNTS
    rehearse(acquisition, Need.BOXES | Need.FEATURES, 4)


def test_wrong_settings():
    inner = by_entropy()
    for make, message in [
        (lambda: Enms(Entropy()), "acquisition.ranking must give each object a value, got Entropy"),
        (lambda: DivProto(Entropy()), "acquisition.ranking must give each object a value, got Entropy"),
        (lambda: Enms(inner, 1.5), "similarity_thresh must be in"),
        (lambda: DivProto(inner, intra_thresh=3.0), "intra_thresh must be in"),
        (lambda: DivProto(inner, inter_thresh=-0.1), "inter_thresh must be in"),
        (lambda: DivProto(inner, minority_share=2.0), "minority_share must be in"),
        (lambda: DivProto(inner, minority_budget=2.0), "minority_budget must be in"),
    ]:
        with pytest.raises(ConfigError, match=message):
            make()
    with pytest.raises(ValueError, match=r"budget must be in \[0, 1\] images, got 2"):
        DivProto(inner).select(context_of([[]], [1], 2))
