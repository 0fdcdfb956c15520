import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alpl.boxes.objects import NO_CLASS, Objects
from alpl.errors import ConfigError
from alpl.metrics.coco_ap import COCOAveragePrecision
from alpl.metrics.coco_beside_kitti import COCOBesideKITTI
from alpl.metrics.kitti_ap import KITTIAveragePrecision
from alpl.metrics.kitti_matching import recall_scores

# --- the development kit's procedure, as its rules are written, by loops

MIN_HEIGHT = {"easy": 40, "moderate": 25, "hard": 25}
MOST_LEVEL = {"easy": 0, "moderate": 1, "hard": 2}
NOTHING = -1e7


def _overlap(one, two, of_first=False):
    width, height = min(one[2], two[2]) - max(one[0], two[0]), min(one[3], two[3]) - max(one[1], two[1])
    if width <= 0 or height <= 0:
        return 0.0
    first, second = ((b[2] - b[0]) * (b[3] - b[1]) for b in (one, two))
    return width * height / (first if of_first else first + second - width * height)


def _clean(image, label, level):
    """What is ignored: 0 counts, 1 is ignored, -1 is not there."""
    found, objects = image
    truth = []
    for kind, hard, is_neighbor in objects["about"]:
        if kind != label:
            truth.append(-1)
        else:
            truth.append(int(is_neighbor or hard > MOST_LEVEL[level]))
    detections = []
    for kind, _, box in found:
        if box[3] - box[1] < MIN_HEIGHT[level]:
            detections.append(1)
        else:
            detections.append(0 if kind == label else -1)
    return truth, detections


def _choice(free, found, detections, truth, thresh, of_score):
    """Who finds an object: the highest score where recalls are looked for, else the largest overlap."""
    chosen, valid, largest, chosen_is_low = None, NOTHING, 0.0, False
    for j in free:
        overlap = _overlap(found[j][2], truth)
        if overlap <= thresh:
            continue
        if of_score:
            if found[j][1] > valid:
                chosen, valid = j, found[j][1]
        elif detections[j] == 0 and (overlap > largest or chosen_is_low):
            chosen, valid, largest, chosen_is_low = j, 1, overlap, False
        elif detections[j] == 1 and valid == NOTHING:
            chosen, valid, chosen_is_low = j, 1, True
    return chosen


def _statistics(image, label, level, thresh, least=None):
    found, objects = image
    truth, detections = _clean(image, label, level)
    assigned, hits, scores = set(), 0, []
    for i, state in enumerate(truth):
        if state == -1:
            continue
        free = [j for j, row in enumerate(found) if detections[j] != -1 and j not in assigned]
        free = [j for j in free if least is None or found[j][1] >= least]
        chosen = _choice(free, found, detections, objects["boxes"][i], thresh, of_score=least is None)
        if chosen is None:
            continue
        assigned.add(chosen)
        if state == 0 and detections[chosen] == 0:
            hits += 1
            scores.append(found[chosen][1])
    wrong = 0
    for j, (_, score, box) in enumerate(found):
        if j in assigned or detections[j] != 0 or (least is not None and score < least):
            continue
        wrong += not any(_overlap(box, region, of_first=True) > thresh for region in objects["regions"])
    return hits, wrong, scores


def _thresholds(scores, number):
    chosen, recall = [], 0.0
    scores = sorted(scores, reverse=True)
    for i, score in enumerate(scores):
        left = (i + 1) / number
        right = (i + 2) / number if i < len(scores) - 1 else left
        if right - recall < recall - left and i < len(scores) - 1:
            continue
        chosen.append(score)
        recall += 1 / 40
    return chosen


def _devkit(images, label, level, thresh, recalls):
    number = sum(_clean(image, label, level)[0].count(0) for image in images)
    if number == 0:
        return math.nan
    scores = [score for image in images for score in _statistics(image, label, level, thresh)[2]]
    precision = [0.0] * 41
    for place, least in enumerate(_thresholds(scores, number)):
        counts = [_statistics(image, label, level, thresh, least) for image in images]
        hits, wrong = sum(c[0] for c in counts), sum(c[1] for c in counts)
        precision[place] = hits / (hits + wrong) if hits + wrong else 0.0
    precision = [max(precision[place:]) for place in range(41)]
    return sum(precision[::4]) / 11 if recalls == 11 else sum(precision[1:]) / 40


def _given(image):
    """The same, as the metric takes it."""
    found, objects = image
    boxes = torch.tensor([box for _, _, box in found]).view(-1, 4).float()
    labels, scores = (torch.tensor([row[k] for row in found]) for k in (0, 1))
    regions = len(objects["regions"])
    truth = Objects(
        torch.tensor([*objects["boxes"], *objects["regions"]]).view(-1, 4).float(),
        torch.tensor([*(kind for kind, _, _ in objects["about"]), *[NO_CLASS] * regions]).long(),
        torch.tensor([*(bool(near) for _, _, near in objects["about"]), *[True] * regions]).bool(),
        torch.tensor([*(hard for _, hard, _ in objects["about"]), *[0] * regions], dtype=torch.uint8),
    )
    return {"boxes": boxes, "labels": labels.long(), "scores": scores.float()}, truth


def _result(images, num_classes=2, metric=KITTIAveragePrecision, **options):
    measured = metric(num_classes, **options)
    measured.update(*zip(*map(_given, images), strict=True))
    return measured.compute()


@st.composite
def scenes(draw):
    """Few coarse boxes around the least heights: low ones, duplicates, equal scores, overlaps of exactly a half."""
    side = st.sampled_from([0, 8, 16])
    high = st.sampled_from([16, 24, 25, 32, 40, 48])

    def box():
        x, y = draw(side), draw(side)
        return [x, y, x + draw(st.sampled_from([8, 16, 32])), y + draw(high)]

    label, score = st.integers(0, 1), st.sampled_from([0.25, 0.5, 0.75, 1.0])
    images = []
    for _ in range(draw(st.integers(1, 3))):
        boxes = [box() for _ in range(draw(st.integers(0, 4)))]
        about = [(draw(label), draw(st.integers(0, 3)), draw(st.integers(0, 3)) == 0) for _ in boxes]
        found = [(draw(label), draw(score), box()) for _ in range(draw(st.integers(0, 3)))]
        for one, (kind, _, _) in zip(boxes, about, strict=True):
            for _ in range(draw(st.integers(0, 2))):
                found.append((kind, draw(score), [*one[:3], one[3] + draw(st.sampled_from([-1, 0, 3]))]))
        regions = [box() for _ in range(draw(st.integers(0, 1)))]
        images.append((draw(st.permutations(found)), {"boxes": boxes, "about": about, "regions": regions}))
    return images


@settings(max_examples=40, deadline=None)
@given(scenes(), st.sampled_from([11, 40]))
def test_it_is_the_development_kit(images, recalls):
    result = _result(images, iou_threshs=(0.7, 0.5), num_recalls=recalls)
    for level in MIN_HEIGHT:
        expected = [_devkit(images, label, level, (0.7, 0.5)[label], recalls) for label in range(2)]
        known = [value for value in expected if not math.isnan(value)]
        mean = sum(known) / len(known) if known else math.nan
        assert result[level] == pytest.approx(mean, abs=1e-12, nan_ok=True), level
        if level == "moderate":
            assert result["per_class"].tolist() == pytest.approx(expected, abs=1e-12, nan_ok=True)
            assert result["map"] == pytest.approx(mean, abs=1e-12, nan_ok=True)


# --- by hand

CAR = [0.0, 0.0, 60.0, 50.0]
FAR = [100.0, 0.0, 160.0, 50.0]


def _one(found, objects, regions=()):
    """An image from (score, box) of cars and (box, level, whether it is a van)."""
    about = [(0, level, van) for _, level, van in objects]
    truth = {"boxes": [box for box, _, _ in objects], "about": about, "regions": list(regions)}
    return [(0, score, box) for score, box in found], truth


@pytest.mark.parametrize("recalls", [11, 40])
def test_perfect_detections_are_perfect_at_every_level(recalls):
    # so many that every recall is reached: with fewer, the kit's own score is below one
    cars = [_one([(0.9, CAR)], [(CAR, number % 3, False)]) for number in range(123)]
    result = _result(cars, num_classes=1, num_recalls=recalls)
    assert {result[name] for name in ("map", *MIN_HEIGHT)} == {1.0}


def test_two_of_three_by_hand():
    # found at 0.9 and 0.7, between them a wrong one: of 41 scores there are two, at precisions 1 and 2/3
    images = [_one([(0.9, CAR), (0.8, FAR)], [(CAR, 0, False)]), _one([(0.7, CAR)], [(CAR, 0, False), (FAR, 0, False)])]
    assert _result(images, 1, num_recalls=11)["map"] == pytest.approx(1 / 11)
    assert _result(images, 1, num_recalls=40)["map"] == pytest.approx(2 / 3 / 40)


def test_vans_levels_regions_and_low_detections_cost_nothing():
    low = [100.0, 0.0, 160.0, 24.0]
    base = [_one([(0.5, CAR)], [(CAR, 0, False)])] * 41
    right = _result(base, 1)["map"]
    assert right == 1.0
    for objects, regions, box, expected in (
        ([(FAR, 0, True)], [], FAR, right),  # a van
        ([(FAR, 2, False)], [], FAR, right),  # hard, asked for the moderate
        ([], [[90.0, 0.0, 200.0, 90.0]], FAR, right),  # DontCare
        ([], [], low, right),
        ([], [], FAR, 41 / 42),  # nothing is there
        ([], [[100.0, 0.0, 141.0, 50.0]], FAR, 41 / 42),  # not more than 0.7 of it is in the region
    ):
        image = _one([(0.9, box), (0.5, CAR)], [(CAR, 0, False), *objects], regions)
        assert _result([*base[1:], image], 1)["map"] == pytest.approx(expected), (objects, regions, box)


def test_nothing_to_find_is_no_number():
    result = _result([_one([(0.9, CAR)], [(CAR, 3, False)])], 2)
    assert all(math.isnan(result[name]) for name in ("map", *MIN_HEIGHT)) and math.isnan(result["per_class"][1])
    nothing_found = _result([_one([], [(CAR, 0, False)])], 2)
    assert nothing_found["map"] == 0.0 and math.isnan(nothing_found["per_class"][1])


def test_scores_are_those_nearest_to_the_recalls():
    assert recall_scores([], 3).tolist() == []
    assert recall_scores([0.1, 0.3, 0.2], 3).tolist() == [0.3, 0.2, 0.1]
    many = recall_scores([number / 1000 for number in range(1000)], 1000)
    assert len(many) == 41 and many[0] == 0.999 and many[-1] == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [({"num_recalls": 12}, "num_recalls must be 11 or 40, got 12"), ({"iou_threshs": ()}, r"must lie in \(0, 1\)"),
     ({"iou_threshs": (0.5, 1.0)}, r"must lie in \(0, 1\)"), ({"num_classes": 0}, "num_classes must be >= 1, got 0")],
)  # fmt: skip
def test_bad_values_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        KITTIAveragePrecision(**{"num_classes": 2, **options})


def test_both_stand_beside_each_other():
    images = [_one([(0.9, CAR), (0.8, FAR)], [(CAR, 0, False)]), _one([(0.7, CAR)], [(CAR, 1, False), (FAR, 0, False)])]
    both, coco = (_result(images, 2, metric) for metric in (COCOBesideKITTI, COCOAveragePrecision))
    kitti = _result(images, 2)
    assert {name: both[name] for name in ("map", "map50", "map75")} == {k: v for k, v in coco.items() if k[0] == "m"}
    assert [both[f"kitti_{name}"] for name in MIN_HEIGHT] == [kitti[name] for name in MIN_HEIGHT]
    metric = COCOBesideKITTI(2)
    metric.update(*zip(*map(_given, images[:1] * 3), strict=True))
    metric.reset()
    metric.update(*zip(*map(_given, images), strict=True))
    again = metric.compute()
    assert again.pop("per_class").tolist() == pytest.approx(both.pop("per_class").tolist(), nan_ok=True)
    assert again == both


def test_thresholds_can_follow_the_order_of_the_classes():
    """Of a class that is found at an overlap of 0.6, in the first place: Pedestrian's threshold, and Car's."""
    wide = (CAR[0], CAR[1], CAR[0] + (CAR[2] - CAR[0]) / 0.6, CAR[3])
    images = [_one([(0.9, wide)], [(CAR, 0, False)])] * 50
    found = [
        _result(images, 1, lambda number, each=each: COCOBesideKITTI(number, iou_threshs=each))["kitti_moderate"]
        for each in [(0.5, 0.7), (0.7, 0.5)]
    ]
    assert found[0] > 0.5 and found[1] == 0
