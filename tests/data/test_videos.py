"""Frames of one's own: their names say who is which frame of which video."""

from dataclasses import replace

import pytest
import torch

from alpl.boxes import AbstractDetectionSource
from alpl.data.digit_scenes import DigitScenes, SceneImages
from alpl.data.videos import NamedFrames
from alpl.errors import ConfigError, DataError


class Named(AbstractDetectionSource):
    """Digit scenes by other names."""

    def __init__(self, *names, excluded=()):
        self.names, self.excluded = names, torch.tensor(excluded, dtype=torch.long)

    def load(self):
        splits = DigitScenes(num_train=len(self.names), num_test=1, size=32).load()
        images = SceneImages("train", torch.stack([splits.train[n] for n in range(len(self.names))]))
        images.names = self.names
        return replace(splits, train=images, excluded=self.excluded)


def test_names_in_any_order():
    splits = NamedFrames(Named("b/3.png", "a/10.png", "b/1.png", "a/9.png", excluded=[1]), spacing=2).load()
    footage = splits.footage
    assert footage.names == ("b/", "a/") and footage.video.tolist() == [0, 1, 0, 1]
    assert footage.frame.tolist() == [3, 10, 1, 9] and footage.order.tolist() == [2, 0, 3, 1]
    assert splits.excluded.tolist() == [1] and footage.spacing == 2


def test_a_pattern_of_ones_own():
    splits = NamedFrames(Named("f07-left.png", "f08-left.png"), r"f(?P<frame>\d+)-(?P<video>\w+)\.png").load()
    assert splits.footage.names == ("left",) and splits.footage.frame.tolist() == [7, 8]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a/1.png", "a/x.png"), r"a/x\.png: the name must match"),
        (("a/1.png", "a/01.png"), r"a/01\.png: it is frame 1 of video 'a/', and so is a/1\.png"),
    ],
)
def test_names_that_tell_nothing_are_refused(names, message):
    with pytest.raises(DataError, match=message):
        NamedFrames(Named(*names)).load()


def test_every_frame_left_out_is_an_error():
    with pytest.raises(DataError, match="none is left"):
        NamedFrames(Named("a/1.png", excluded=[0])).load()


@pytest.mark.parametrize(
    ("pattern", "message"), [("(", "must be a regular expression"), (r"(?P<frame>\d+)", "must have groups named")]
)
def test_patterns_are_checked(pattern, message):
    with pytest.raises(ConfigError, match=message):
        NamedFrames(Named("a/1.png"), pattern)
