"""The oracle of chapter 2: hand cases of both matchings, a loop, and what is refused."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.acquisition import Context, DetectionErrors
from alpl.acquisition.detection_errors import errors_of
from alpl.boxes import Objects
from alpl.errors import ConfigError
from alpl.pool import Pool
from alpl.predictions import Predictions

A, B = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]


def objects(*boxes, labels=None, difficult=None):
    number = len(boxes)
    return Objects(
        torch.tensor(boxes).view(-1, 4),
        torch.tensor(labels or [0] * number, dtype=torch.long),
        torch.tensor(difficult or [False] * number, dtype=torch.bool),
    )


def overlapping(share):
    """A box that overlaps A by an IoU of ``share``."""
    return [0.0, 0.0, 10.0, 10.0 * share]


def found(boxes, scores, theirs, matching, thresh=0.5, labels=None):
    labels = torch.tensor(labels or [0] * len(boxes), dtype=torch.long)
    return tuple(errors_of(torch.tensor(boxes).view(-1, 4), torch.tensor(scores), labels, theirs, thresh, matching))


def test_the_hand_case():
    boxes, scores = [overlapping(0.1), overlapping(0.55), overlapping(0.6)], [0.7, 0.8, 0.9]
    both = objects(A, B)
    assert found(boxes, scores, both, "as_written") == (2, 1)
    assert found(boxes, scores, both, "as_released") == (2, 1)
    assert found(boxes, scores, both, "as_released", 0.75) == (3, 2)


def test_the_class_counts_as_released_alone():
    assert found([A], [0.9], objects(A, labels=[3]), "as_written") == (0, 0)
    assert found([A], [0.9], objects(A, labels=[3]), "as_released") == (1, 1)


def test_the_threshold_itself():
    half = [overlapping(0.5)]
    assert found(half, [0.9], objects(A), "as_written") == (1, 1)
    assert found(half, [0.9], objects(A), "as_released") == (0, 0)


def test_a_second_detection_takes_the_next_object_as_released():
    """Both detections overlap A most; as released the second takes B, which it overlaps less."""
    near_a, other = [0.0, 0.0, 10.0, 11.0], [0.0, 1.0, 10.0, 11.0]
    boxes = [near_a, [0.0, 0.2, 10.0, 10.2]]
    assert found(boxes, [0.9, 0.8], objects(near_a, other), "as_written", 0.5) == (1, 0)
    assert found(boxes, [0.9, 0.8], objects(near_a, other), "as_released", 0.5) == (0, 0)


@pytest.mark.parametrize("matching", ["as_written", "as_released"])
def test_difficult_objects_count_neither_way(matching):
    theirs = objects(A, B, difficult=[True, True])
    assert found([A, A], [0.9, 0.8], theirs, matching) == (0, 0)
    assert found([], [], theirs, matching) == (0, 0)


@pytest.mark.parametrize("matching", ["as_written", "as_released"])
def test_nothing_there_or_nothing_detected(matching):
    assert found([A, B], [0.9, 0.8], objects(), matching) == (2, 0)
    assert found([], [], objects(A, B), matching) == (0, 2)
    assert found([], [], objects(), matching) == (0, 0)


def slow_iou(a, b):
    width, height = (max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    area = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return width * height / (sum(area) - width * height)


squares = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(3, 6)), max_size=4)


@given(squares, squares)
def test_as_written_against_a_loop(ours, theirs):
    boxes, true = ([[float(x), float(y), float(x + s), float(y + s)] for x, y, s in each] for each in (ours, theirs))
    wrong, taken = 0, set()
    for box in boxes:  # by falling score
        overlaps = [slow_iou(box, other) for other in true]
        best = max(range(len(true)), key=lambda n: overlaps[n]) if true else None
        if best is None or not overlaps[best] > 0.4 or best in taken:
            wrong += 1
        else:
            taken.add(best)
    missed = sum(not any(slow_iou(box, other) > 0.4 for box in boxes) for other in true)
    scores = [1 - n / 10 for n in range(len(boxes))]
    assert found(boxes, scores, objects(*true), "as_written", 0.4) == (wrong, missed)


def test_images_and_thresholds():
    pool = Pool.create(4, torch.tensor([1]))
    predictions = Predictions(
        pool.unlabeled,
        torch.tensor([0, 2, 0]),
        boxes=torch.tensor([A, A, B]),
        labels=torch.tensor([0, 0, 0]),
        scores=torch.tensor([0.9, 0.9, 0.5]),  # the last does not count
    )
    context = Context(pool, 1, 0, unlabeled=predictions, targets=[objects(A, B), objects(A), objects()])
    for count, expected in (("fp", [0, 0, 1]), ("fn", [1, 1, 0]), ("both", [1, 1, 1])):
        assert DetectionErrors(count).utility(context).tolist() == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": "tp"}, "count must be one of fp, fn, both, got 'tp'"),
        ({"iou_thresh": 0}, "iou_thresh must be in"),
        ({"matching": "loose"}, "matching must be as_written or as_released"),
        ({"score_thresh": 2}, "score_thresh must be in"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        DetectionErrors(**settings)
