"""Digit videos: who is which frame, what moves, and what is annotated."""

import pytest
import torch

from alpl.data.digit_videos import FAINT, DigitVideos
from alpl.errors import ConfigError


def made(**settings):
    return DigitVideos(**({"num_videos": 3, "num_test_videos": 1, "length": (4, 9), "size": 64} | settings)).load()


@pytest.fixture(scope="module")
def splits():
    return made()


def test_frames_stand_in_order_in_their_videos(splits):
    footage = splits.footage
    assert len(footage) == len(splits.train) == len(splits.train_objects) and len(footage.names) == 3
    lengths = torch.bincount(footage.video).tolist()
    assert all(4 <= length <= 9 for length in lengths)
    assert footage.frame.tolist() == [frame for length in lengths for frame in range(length)]
    assert splits.train[0].shape == (3, 64, 64) and splits.classes == tuple("0123456789")


def test_the_same_seed_gives_the_same_videos_however_many(splits):
    again, more, other = made(), made(num_videos=4), made(seed=1)
    for index in range(len(splits.train)):
        assert torch.equal(splits.train[index], again.train[index])
        assert torch.equal(splits.train[index], more.train[index])
        assert torch.equal(splits.train_objects[index].boxes, more.train_objects[index].boxes)
    assert not torch.equal(splits.train[0], other.train[0])


def test_boxes_lie_in_the_image(splits):
    boxes = splits.train_objects.objects.boxes
    assert len(boxes) and bool((boxes >= 0).all() and (boxes <= 64).all() and (boxes[:, 2:] > boxes[:, :2]).all())


def test_digits_move_by_a_constant_velocity():
    """Nothing hides, flickers or leaves a canvas this large: boxes of one class are on a line, but for rounding."""
    splits = made(size=256, hide=0.0, flicker=0.0, num_videos=6, most_digits=2, length=(8, 8))
    footage, lines = splits.footage, 0
    for video in range(6):
        paths = {}
        for image in footage.order[footage.video[footage.order] == video].tolist():
            objects = splits.train_objects[image]
            for box, label in zip(objects.boxes, objects.labels.tolist(), strict=True):
                paths.setdefault(label, []).append((int(footage.frame[image]), box))
        for path in paths.values():
            inside = [(frame, box) for frame, box in path if box.min() > 0 and box.max() < 256]
            if len(inside) < 4 or len({frame for frame, _ in inside}) < len(inside):
                continue  # two of one class
            frames = torch.tensor([float(frame) for frame, _ in inside])
            places = torch.stack([box[:2] for _, box in inside])
            steps = (places - places[0])[1:] / (frames - frames[0])[1:, None]
            spread = (steps - steps[-1]).abs() * (frames - frames[0])[1:, None]
            assert bool((spread <= 2.5).all()), "within the rounding of both ends"
            lines += 1
    assert lines >= 5


def counts(**settings):
    splits = made(num_videos=8, length=(12, 12), size=128, **settings)
    return splits, splits.train_objects.counts


def test_what_hides_is_not_annotated_and_what_flickers_is():
    _, plain = counts(hide=0.0, flicker=0.0)
    _, hidden = counts(hide=1.0, flicker=0.0)
    splits, faint = counts(hide=0.0, flicker=1.0)
    assert hidden.sum() == 0 < plain.sum() and torch.equal(faint, plain)
    shown, _ = counts(hide=0.0, flicker=0.0)
    clear, dim, empty = (_contrast(each) for each in (shown, splits, counts(hide=1.0, flicker=0.0)[0]))
    assert 0 < FAINT < 1 and empty < dim < clear


def _contrast(splits):
    """How much the frames of the first video differ from their mean."""
    frames = torch.stack([splits.train[index].float() for index in range(12)])
    return float((frames - frames.mean(0)).abs().mean())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_videos": 0}, "num_videos must be >= 1, got 0"),
        ({"length": (5, 4)}, r"length must be the fewest and the most frames, at least 1, got \[5, 4\]"),
        ({"size": 16}, "size must be a side"),
        ({"flicker": 1.5}, r"flicker must be in \[0, 1\], got 1.5"),
        ({"spacing": -1}, "spacing must be >= 0, got -1"),
        ({"most_digits": 1}, "most_digits must be >= 2, got 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        DigitVideos(**settings)
