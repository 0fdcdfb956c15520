"""Pseudo-labels: confident objects, or the most confident of each class; clipped, recorded, never the truth."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.acquisition import ConfidentObjects, Context, TopPerClass
from alpl.errors import ConfigError
from alpl.labeling.pseudo_labels import PseudoLabels
from alpl.pool import Pool
from alpl.predictions import Need, Predictions

BOX = [10.0, 10.0, 20.0, 30.0]


def predictions(row, labels, scores, boxes=None, index=None):
    number = max(row, default=-1) + 1
    return Predictions(
        index=torch.arange(number) * 10 if index is None else torch.tensor(index),
        row=torch.tensor(row, dtype=torch.long),
        labels=torch.tensor(labels, dtype=torch.long),
        scores=torch.tensor(scores, dtype=torch.float32),
        boxes=torch.tensor([BOX] * len(row) if boxes is None else boxes, dtype=torch.float32).reshape(-1, 4),
    )


def label_by(labeler, seen, sizes):
    pool = Pool.create(100, torch.zeros(0, dtype=torch.long))
    return labeler.label(Context(pool, 0, 0, unlabeled=seen, sizes=sizes))


def sizes(number, height=100, width=200):
    return torch.tensor([[height, width]] * number).reshape(-1, 2)


def test_confident_objects_reach_the_threshold():
    seen = predictions([0, 0, 2, 2], [1, 0, 1, 2], [0.99, 0.98, 1.0, 0.5])
    found = label_by(ConfidentObjects(0.99), seen, sizes(3))
    assert found.image.tolist() == [0, 20] and found.labels.tolist() == [1, 1]
    assert found.index.tolist() == [0, 20] and set(found.by_image) == {0, 20}
    assert found.by_image[20].boxes.tolist() == [BOX] and not found.by_image[20].difficult.any()
    assert ConfidentObjects().score_thresh == 0.99 and ConfidentObjects().needs == Need.BOXES | Need.SIZES


def test_boxes_are_clipped_to_their_image_and_slivers_left_out():
    boxes = [
        [-5.0, -5.0, 20.5, 30.7],
        [190.0, 90.0, 300.0, 130.0],
        [199.5, 10.0, 230.0, 20.0],
        [30.0, 40.0, 30.5, 60.0],
    ]
    found = label_by(ConfidentObjects(0.5), predictions([0] * 4, [0, 1, 2, 3], [0.9] * 4, boxes), sizes(1))
    assert found.labels.tolist() == [0, 1]
    torch.testing.assert_close(found.boxes, torch.tensor([[0.0, 0.0, 20.5, 30.7], [190.0, 90.0, 200.0, 100.0]]))
    whole = label_by(
        ConfidentObjects(0.5, truncate=True), predictions([0] * 4, [0, 1, 2, 3], [0.9] * 4, boxes), sizes(1)
    )
    assert whole.boxes.tolist() == [[0, 0, 20, 30], [190, 90, 200, 100], [199, 10, 200, 20]]


def test_an_image_without_a_whole_object_is_not_pseudo_labeled():
    outside = predictions([0, 1], [0, 0], [1.0, 1.0], [[250.0, 0.0, 300.0, 50.0], BOX])
    assert label_by(ConfidentObjects(0.9), outside, sizes(2)).index.tolist() == [10]


def test_images_come_by_ascending_index_whatever_their_order():
    seen = predictions([0, 0, 1, 2], [0, 1, 2, 3], [0.9] * 4, index=[30, 7, 12])
    found = label_by(ConfidentObjects(0.5), seen, sizes(3))
    assert found.image.tolist() == [7, 12, 30, 30] and found.labels.tolist() == [2, 3, 0, 1]
    assert found.by_image[30].labels.tolist() == [0, 1]


def test_the_top_share_of_each_class_by_hand():
    scores = [0.9, 0.8, 0.7, 0.6, 0.55, 0.95, 0.51, 0.4]
    seen = predictions([0, 0, 0, 1, 1, 1, 2, 2], [0, 0, 0, 0, 0, 1, 1, 1], scores)
    # class 0: five objects, class 1: two (one is below 0.5), class 2: none
    assert TopPerClass(0.4).choose(seen).tolist() == [0, 1, 5]  # 2 of 5, 1 of 2 (0.8 rounded up)
    assert TopPerClass(0.5).choose(seen).tolist() == [0, 1, 2, 5]  # 3 of 5 (2.5 rounded up), 1 of 2
    assert TopPerClass(1.0).choose(seen).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert TopPerClass(1.0, score_thresh=0.0).choose(seen).tolist() == list(range(8))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.2, 0.5, 0.6, 0.9, 0.9])), max_size=30),
    st.sampled_from([0.1, 0.2, 0.3, 0.4, 1.0]),
)
def test_the_top_share_is_that_of_a_slow_reference(instances, fraction):
    labels, scores = [label for label, _ in instances], [score for _, score in instances]
    expected = []
    for label in range(4):
        own = [i for i in range(len(labels)) if labels[i] == label and scores[i] >= 0.5]
        own.sort(key=lambda i: (-scores[i], i))
        expected += own[: math.ceil(round(fraction * len(own), 6))]
    assert TopPerClass(fraction).choose(predictions([0] * len(labels), labels, scores)).tolist() == sorted(expected)


@pytest.mark.parametrize("labeler", [ConfidentObjects(0.5), TopPerClass(0.3)])
def test_nothing_found_is_nothing_labeled(labeler, tmp_path):
    found = label_by(labeler, predictions([], [], []), sizes(0))
    found.save(tmp_path / "pseudo.csv")
    again = PseudoLabels.load(tmp_path / "pseudo.csv")
    for each in (found, again):
        assert len(each.image) == 0 and len(each.index) == 0 and each.by_image == {} and each.boxes.shape == (0, 4)


def test_what_is_written_is_read_back_to_the_last_bit(tmp_path):
    random = torch.Generator().manual_seed(0)
    boxes = (torch.rand(20, 2, generator=random) * 50).repeat(1, 2) + torch.tensor([0.0, 0.0, 30.3, 40.7])
    seen = predictions(
        sorted([i % 7 for i in range(20)]), [i % 3 for i in range(20)], torch.rand(20).tolist(), boxes.tolist()
    )
    found = label_by(ConfidentObjects(0.1), seen, sizes(7))
    found.save(tmp_path / "pseudo.csv")
    again = PseudoLabels.load(tmp_path / "pseudo.csv")
    for name in ("image", "labels", "scores", "boxes"):
        assert torch.equal(getattr(found, name), getattr(again, name)), name
        assert getattr(found, name).dtype == getattr(again, name).dtype
    assert (tmp_path / "pseudo.csv").read_text().splitlines()[0] == "index,label,score,x1,y1,x2,y2"


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: ConfidentObjects(1.5), "score_thresh"),
        (lambda: TopPerClass(0), "fraction"),
        (lambda: TopPerClass(1.1), "fraction"),
        (lambda: TopPerClass(0.5, score_thresh=-0.1), "score_thresh"),
    ],
)
def test_values_out_of_range_are_named(make, name):
    with pytest.raises(ConfigError, match=rf"pseudo_labels\.{name} must be"):
        make()
