"""The released code's filter of boxes, box by box."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpl.boxes.valid_boxes import valid_boxes


def _is_valid(box, size):
    (x1, y1, x2, y2), (height, width) = box, size
    w, h = min(x2, width) - x1, min(y2, height) - y1
    if x1 > width or y1 > height or w <= 0 or h <= 0:
        return False
    return math.sqrt(w * h) > 16 and w / (h + 1e-10) < 5 and h / (w + 1e-10) < 5


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 16, 16), False),
        ((0, 0, 17, 17), True),
        ((0, 0, 101, 20), False),
        ((0, 0, 99, 20), True),
        ((0, 0, 100, 20), True),  # at exactly 5 the epsilon keeps it
        ((0, 0, 19, 99), False),
        ((180, 0, 220, 40), True),  # 20 x 40 of it inside
        ((190, 0, 210, 20), False),  # 10 x 20 of it inside
        ((-20, 0, 10, 10), True),  # a negative edge stays: 30 x 10
        ((201, 0, 240, 40), False),
        ((0, 101, 40, 140), False),
        ((20, 20, 20, 60), False),
    ],
)
def test_by_hand(box, expected):
    found = valid_boxes(torch.tensor([box], dtype=torch.float32), torch.tensor([[100, 200]]))
    assert found.tolist() == [expected] == [_is_valid(box, (100, 200))]


@given(st.integers(0, 10_000))
def test_it_is_the_loop(seed):
    draws = torch.Generator().manual_seed(seed)
    corners = torch.rand(30, 2, 2, generator=draws) * 140 - 20
    boxes = torch.cat([corners.amin(1), corners.amax(1)], 1)
    sizes = torch.randint(20, 120, (30, 2), generator=draws)
    expected = [_is_valid(box, size) for box, size in zip(boxes.tolist(), sizes.tolist(), strict=True)]
    assert valid_boxes(boxes, sizes).tolist() == expected
