"""Who is which frame of which video, and who its neighbors are."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.boxes.footage import Footage


def footage(*videos, spacing=1):
    """The frames of each video; images in a mixed order would only make tests hard to read."""
    video = torch.tensor([number for number, frames in enumerate(videos) for _ in frames], dtype=torch.long)
    frame = torch.tensor([frame for frames in videos for frame in frames], dtype=torch.long)
    return Footage(video, frame, tuple("abcdefgh"[: len(videos)]), spacing)


def test_frames_out_of_order_are_put_in_order():
    made = Footage(torch.tensor([1, 0, 1, 0]), torch.tensor([7, 3, 2, 9]), ("a", "b"))
    assert made.order.tolist() == [1, 3, 2, 0] and made.place.tolist() == [3, 0, 2, 1]
    assert made.starts.tolist() == [0, 2, 4]


def test_a_video_without_frames_has_a_place_too():
    made = Footage(torch.tensor([2, 0]), torch.tensor([0, 0]), ("a", "b", "c"))
    assert made.starts.tolist() == [0, 1, 1, 2]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12), st.booleans()), max_size=20), st.integers(-3, 3),
       st.integers(1, 5))  # fmt: skip
def test_shifted_against_a_loop(rows, by, reach):
    rows = list({row[:2]: row for row in rows}.values())
    video = torch.tensor([row[0] for row in rows], dtype=torch.long)
    frame = torch.tensor([row[1] for row in rows], dtype=torch.long)
    kept = torch.tensor([row[2] for row in rows], dtype=torch.bool)
    made = Footage(video, frame, ("a", "b", "c"))
    images = kept.nonzero().flatten()
    expected = []
    for image in images.tolist():
        own = sorted((rows[other][1], other) for other in images.tolist() if rows[other][0] == rows[image][0])
        at = own.index((rows[image][1], image)) + by
        found = own[at] if 0 <= at < len(own) else None
        expected.append(found[1] if found and abs(found[0] - rows[image][1]) <= reach else -1)
    assert made.shifted(kept, images, by, reach).tolist() == expected


@pytest.mark.parametrize(
    ("video", "frame", "names", "message"),
    [
        ([0, 0], [1, 1], ("a",), "frame must not repeat a number"),
        ([0, 1], [1, 1], ("a",), r"video must lie in \[0, 1\), got 0 to 1"),
        ([0, 1], [1, 1], ("a", "a"), "names must be different, got 1 repeated"),
        ([0, 1], [1], ("a", "b"), r"frame must be Long\[2\]"),
    ],
)
def test_what_is_no_footage_is_refused(video, frame, names, message):
    with pytest.raises(ValueError, match=message):
        Footage(torch.tensor(video), torch.tensor(frame), names)


def test_a_negative_spacing_is_refused():
    with pytest.raises(ValueError, match="spacing must be >= 0, got -1"):
        footage([0], spacing=-1)
