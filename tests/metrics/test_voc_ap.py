import math
import time
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alpl.boxes.objects import Objects
from alpl.errors import ConfigError
from alpl.metrics.voc_ap import VOCAveragePrecision


def _found(*rows):
    """Detections from rows of (label, score, x1, y1, x2, y2)."""
    rows = torch.tensor(rows, dtype=torch.float64).view(-1, 6)
    return {"labels": rows[:, 0].long(), "scores": rows[:, 1].float(), "boxes": rows[:, 2:].float()}


def _objects(*rows):
    """Objects from rows of (label, difficult, x1, y1, x2, y2)."""
    rows = torch.tensor(rows, dtype=torch.float64).view(-1, 6)
    return Objects(rows[:, 2:].float(), rows[:, 0].long(), rows[:, 1].bool())


def _result(images, num_classes=1, **options):
    metric = VOCAveragePrecision(num_classes, **options)
    metric.update([found for found, _ in images], [objects for _, objects in images])
    return metric.compute()


def _map(images, **options):
    return _result(images, **options)["map"]


# --- the development kit's procedure (VOCevaldet.m), word for word and in exact arithmetic


def _overlap(one, two):
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    if width <= 0 or height <= 0:
        return Fraction(0)
    area = sum((Fraction(b[2]) - Fraction(b[0])) * (Fraction(b[3]) - Fraction(b[1])) for b in (one, two))
    both = Fraction(width) * Fraction(height)
    return both / (area - both)


def _devkit_hits(images, label, thresh, strict):
    detections = []
    for number, (found, _) in enumerate(images):
        for k, score in enumerate(found["scores"].tolist()):
            if found["labels"][k] == label:
                detections.append((score, number, found["boxes"][k].tolist()))
    detections.sort(key=lambda row: -row[0])  # Python's sort is stable
    taken, hits, count = set(), [], 0
    for _, objects in images:
        count += int(((objects.labels == label) & ~objects.difficult).sum())
    for _, number, box in detections:
        objects = images[number][1]
        best, which = Fraction(-1), None
        for k, truth in enumerate(objects.boxes.tolist()):
            if objects.labels[k] == label and _overlap(box, truth) > best:
                best, which = _overlap(box, truth), k
        if best > thresh or (best == thresh and not strict):
            if objects.difficult[which]:
                continue
            hits.append((number, which) not in taken)
            taken.add((number, which))
        else:
            hits.append(False)
    return hits, count


def _devkit_ap(images, label, thresh, interpolation, strict):
    hits, count = _devkit_hits(images, label, thresh, strict)
    if count == 0:
        return math.nan
    recall = [Fraction(sum(hits[: n + 1]), count) for n in range(len(hits))]
    precision = [Fraction(sum(hits[: n + 1]), n + 1) for n in range(len(hits))]

    def best(least):
        return max((p for p, r in zip(precision, recall, strict=True) if r >= least), default=Fraction(0))

    if interpolation == "11point":
        return float(sum(best(Fraction(t, 10)) for t in range(11)) / 11)
    steps = sorted({Fraction(0), *recall})
    return float(sum((b - a) * best(b) for a, b in pairwise(steps)))


@st.composite
def scenes(draw, num_classes):
    """Images of a few coarse boxes, so that exact overlaps, equal scores, duplicates and empty boxes are common."""
    side = st.integers(0, 6)

    def box():
        x1, y1 = draw(side), draw(side)
        return [x1, y1, x1 + draw(side), y1 + draw(side)]

    label, score = st.integers(0, num_classes - 1), st.sampled_from([0.125, 0.25, 0.5, 0.75, 1.0])
    images = []
    for _ in range(draw(st.integers(1, 4))):
        objects = [[draw(label), draw(st.booleans()), *box()] for _ in range(draw(st.integers(0, 4)))]
        found = [[draw(label), draw(score), *box()] for _ in range(draw(st.integers(0, 3)))]
        for truth in objects:  # and some that do find an object
            for _ in range(draw(st.integers(0, 2))):
                found.append([truth[0], draw(score), *truth[2:4], truth[4] + draw(st.integers(0, 1)), truth[5]])
        images.append((_found(*draw(st.permutations(found))), _objects(*objects)))
    return images


@settings(max_examples=200)
@given(
    scenes(num_classes=3),
    st.sampled_from([Fraction(1, 2), Fraction(3, 5), Fraction(3, 4), Fraction(1)]),
    st.sampled_from(["11point", "area"]),
    st.sampled_from(["devkit", "as_released"]),
)
def test_it_is_the_development_kit(images, thresh, interpolation, overlap):
    options = {"iou_thresh": float(thresh), "interpolation": interpolation, "overlap": overlap}
    result = _result(images, num_classes=3, **options)
    expected = [_devkit_ap(images, k, thresh, interpolation, overlap == "as_released") for k in range(3)]
    assert result["per_class"].tolist() == pytest.approx(expected, abs=1e-12, nan_ok=True)
    known = [value for value in expected if not math.isnan(value)]
    mean = sum(known) / len(known) if known else math.nan
    assert result["map"] == pytest.approx(mean, abs=1e-12, nan_ok=True)


@pytest.mark.slow
@given(scenes(num_classes=2), st.integers(1, 3))
def test_batches_do_not_matter(images, size):
    whole, parts = VOCAveragePrecision(2), VOCAveragePrecision(2)
    whole.update(*zip(*images, strict=True))
    for start in range(0, len(images), size):
        parts.update(*zip(*images[start : start + size], strict=True))
    np.testing.assert_array_equal(parts.compute()["per_class"], whole.compute()["per_class"])


# --- by hand

BOX = (0, 0, 10, 10)
FAR = (50, 50, 60, 60)


def test_right_wrong_right_by_hand():
    # precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1
    images = [(_found((0, 0.9, *BOX), (0, 0.8, 30, 30, 40, 40), (0, 0.7, *FAR)), _objects((0, 0, *BOX), (0, 0, *FAR)))]
    assert _map(images) == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)  # recalls 0 ... 0.5, then 0.6 ... 1
    assert _map(images, interpolation="area") == pytest.approx((1 + 2 / 3) / 2)


def test_a_recall_of_three_tenths_reaches_three_tenths():
    # in floats 3 * 0.1 > 3 / 10, and a point of the eleven would be lost
    objects = [(0, 0, 20 * k, 0, 20 * k + 10, 10) for k in range(10)]
    found = [(0, 0.9, *row[2:]) for row in objects[:3]]
    assert _map([(_found(*found), _objects(*objects))]) == pytest.approx(4 / 11)


def test_a_duplicate_is_wrong():
    images = [(_found((0, 0.9, *BOX), (0, 0.8, *BOX), (0, 0.7, *FAR)), _objects((0, 0, *BOX), (0, 0, *FAR)))]
    assert _map(images, interpolation="area") == pytest.approx((1 + 2 / 3) / 2)


def test_a_detection_of_a_taken_object_does_not_go_to_the_next_best():
    objects = _objects((0, 0, 0, 0, 10, 10), (0, 0, 2, 0, 12, 10))
    found = _found((0, 0.9, 0, 0, 10, 10), (0, 0.8, 0.5, 0, 10.5, 10))  # overlaps the second object by 0.74
    assert _map([(found, objects)], interpolation="area") == pytest.approx(1 / 2)


def test_the_highest_score_takes_the_object_whatever_the_order():
    images = [(_found((0, 0.5, *BOX), (0, 0.9, 1, 0, 10, 10)), _objects((0, 0, *BOX)))]
    assert _map(images, interpolation="area") == 1.0  # the right one comes first by score, the duplicate later


@pytest.mark.parametrize(
    ("overlap", "thresh", "expected"),
    [("devkit", 0.5, 1.0), ("as_released", 0.5, 0.0), ("as_released", 0.499, 1.0), ("devkit", 0.501, 0.0)],
)
def test_an_overlap_of_exactly_the_threshold(overlap, thresh, expected):
    images = [(_found((0, 0.9, 0, 0, 10, 5)), _objects((0, 0, *BOX)))]
    assert _map(images, overlap=overlap, iou_thresh=thresh) == expected


def test_large_boxes_overlap_exactly():
    # in float32 the overlap is 0.50000006, and the detection right
    truth, half = (125, 125, 125 + 2737, 125 + 2551), (125, 125, 125 + 2737, 125 + 2551 / 2)
    assert _map([(_found((0, 0.9, *half)), _objects((0, 0, *truth)))], overlap="as_released") == 0.0


def test_widths_are_differences():
    # with areas + 1 the overlap would be 11 * 6 / (11 * 11) > 0.5
    images = [(_found((0, 0.9, 0, 0, 10, 5)), _objects((0, 0, *BOX)))]
    assert _map(images, iou_thresh=0.51) == 0.0


def test_difficult_objects_are_neither_right_nor_wrong_nor_counted():
    objects = _objects((0, 1, *BOX), (0, 0, *FAR))
    assert _map([(_found((0, 0.9, *BOX), (0, 0.8, *BOX), (0, 0.7, *FAR)), objects)]) == pytest.approx(1.0)
    assert _map([(_found((0, 0.9, *BOX)), objects)]) == 0.0


def test_an_object_of_another_class_or_image_does_not_count():
    images = [
        (_found((0, 0.9, *BOX), (1, 0.9, *FAR)), _objects((1, 0, *BOX))),
        (_found(), _objects((0, 0, *BOX))),
    ]
    assert _result(images, num_classes=2)["per_class"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("interpolation", ["11point", "area"])
def test_what_is_not_there(interpolation):
    options = {"interpolation": interpolation, "num_classes": 2}
    one = _objects((1, 0, *BOX))
    for images, expected in [
        ([], [math.nan, math.nan]),
        ([(_found(), _objects())], [math.nan, math.nan]),
        ([(_found((0, 0.9, *BOX)), _objects())], [math.nan, math.nan]),
        ([(_found(), one)], [math.nan, 0.0]),
        ([(_found((1, 0.9, *BOX)), _objects((1, 1, *BOX)))], [math.nan, math.nan]),  # all difficult
        ([(_found((1, 0.9, *BOX)), one)], [math.nan, 1.0]),
    ]:
        result = _result(images, **options)
        assert result["per_class"].tolist() == pytest.approx(expected, nan_ok=True)
        assert result["map"] == pytest.approx(expected[1], nan_ok=True) and isinstance(result["map"], float)


@pytest.mark.parametrize("right_first", [True, False])
def test_equal_scores_are_taken_in_the_given_order(right_first):
    objects = _objects((0, 0, *BOX))
    right, wrong = (0, 0.5, *BOX), (0, 0.5, *FAR)
    rows = [right, wrong] if right_first else [wrong, right]
    expected = 1.0 if right_first else 0.5
    assert _map([(_found(*rows), objects)], interpolation="area") == expected
    apart = [(_found(row), objects if row is right else _objects()) for row in rows]
    assert _map(apart, interpolation="area") == expected


@pytest.mark.parametrize("num_classes", [1, 2])
def test_there_is_one_average_a_class(num_classes):
    result = _result([(_found((0, 0.9, *BOX)), _objects((0, 0, *BOX)))], num_classes=num_classes)
    assert result["per_class"].shape == (num_classes,) and result["per_class"].dtype == np.float64


def test_an_empty_box_overlaps_nothing():
    assert _map([(_found((0, 0.9, 5, 5, 5, 5)), _objects((0, 0, 5, 5, 5, 5)))]) == 0.0


# --- as a metric


def test_reset_forgets():
    metric = VOCAveragePrecision(1)
    metric.update([_found((0, 0.9, *FAR))], [_objects((0, 0, *BOX))])
    assert metric.compute()["map"] == 0.0
    metric.reset()
    metric.update([_found((0, 0.9, *BOX))], [_objects((0, 0, *BOX))])
    assert metric.compute()["map"] == 1.0


def test_forward_gives_the_batch_and_keeps_the_whole():
    metric, objects = VOCAveragePrecision(1, interpolation="area"), _objects((0, 0, *BOX))
    right, wrong = _found((0, 0.5, *BOX)), _found((0, 0.5, *FAR))
    assert metric([right, right], [objects, objects])["map"] == 1.0
    assert metric([wrong, wrong], [objects, objects])["map"] == 0.0
    # of equal score, so in the order of the images: right, right, wrong, wrong
    assert metric.compute()["map"] == pytest.approx((1 + 1) / 4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_classes": 0}, "num_classes must be >= 1, got 0"),
        ({"iou_thresh": 0.0}, r"iou_thresh must be in \(0, 1\], got 0.0"),
        ({"iou_thresh": 1.5}, "iou_thresh must be in"),
        ({"interpolation": "12point"}, "interpolation must be 11point or area, got '12point'"),
        ({"overlap": ">"}, "overlap must be devkit or as_released, got '>'"),
    ],
)
def test_options_that_cannot_be_are_errors(given, message):
    with pytest.raises(ConfigError, match=message):
        VOCAveragePrecision(**({"num_classes": 2} | given))


@pytest.mark.parametrize(
    ("found", "objects", "message"),
    [
        ([], [_objects()], "detections must be given for 1 images, got 0"),
        ([_found((2, 0.5, *BOX))], [_objects()], r"labels of detections must lie in \[0, 2\), got 2 to 2"),
        ([_found()], [_objects((-1, 0, *BOX))], r"labels of targets must lie in \[0, 2\), got -1 to -1"),
        ([_found((0, math.nan, *BOX))], [_objects()], "boxes and scores must be finite"),
        ([_found((0, 0.5, 0, 0, math.inf, 1))], [_objects()], "boxes and scores must be finite"),
        ([_found() | {"scores": torch.zeros(1)}], [_objects()], r"must be \[D 4\], \[D\], \[D\], got shapes \[0, 4\]"),
        ([_found() | {"labels": torch.zeros(0)}], [_objects()], "must be Float, Long, Float, got .* torch.float32"),
    ],
)
def test_what_cannot_be_judged_is_an_error(found, objects, message):
    with pytest.raises(ValueError, match=message):
        VOCAveragePrecision(2).update(found, objects)


def test_it_is_fast_enough_for_the_test_set():
    # 200 images of 200 detections here; VOC2007 has 4,952, 25 times as many
    draws = torch.Generator().manual_seed(0)
    images = []
    for _ in range(200):
        corner = torch.rand(203, 2, generator=draws) * 300
        boxes = torch.cat([corner, corner + 20 + 100 * torch.rand(203, 2, generator=draws)], 1)
        labels = torch.randint(20, (203,), generator=draws)
        found = {"boxes": boxes[:200], "labels": labels[:200], "scores": torch.rand(200, generator=draws)}
        images.append((found, Objects(boxes[200:], labels[200:], torch.zeros(3, dtype=torch.bool))))
    start = time.perf_counter()
    _result(images, num_classes=20)
    assert time.perf_counter() - start < 4  # about 0.1 s on an idle core
