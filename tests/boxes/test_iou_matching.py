"""Eq. 2 of Elezi et al. in loops, and its shortcuts against all pairs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_iou

from alpl.boxes.box_coding import decode
from alpl.boxes.iou_matching import iou, match_by_iou
from alpl.boxes.priors import TINY_96
from alpl.modules.consistency import corners


def _iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


def _matched(ours, flipped, width):
    """For each flipped box, the first of the originals with the largest overlap."""
    found = []
    for x1, y1, x2, y2 in flipped:
        overlaps = [_iou(box, (width - x2, y1, width - x1, y2)) for box in ours]
        found.append(overlaps.index(max(overlaps)) if max(overlaps) > 0 else -1)
    return found


def _draw(seed, images, priors):
    """Boxes on a coarse grid: many equal overlaps, some boxes without area."""
    draws = torch.Generator().manual_seed(seed)
    corner = torch.randint(0, 20, (2, images, priors, 2), generator=draws).double()
    boxes = torch.cat([corner, corner + torch.randint(0, 9, corner.shape, generator=draws)], -1)
    return *boxes, draws


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 12))
def test_the_match_is_the_largest_overlap_of_the_box_mirrored_back(seed, images, priors):
    ours, flipped, _ = _draw(seed, images, priors)
    expected = [_matched(*pair, 30) for pair in zip(ours.tolist(), flipped.tolist(), strict=True)]
    assert match_by_iou(ours, flipped, width=30).tolist() == expected


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 40), st.sampled_from([0.0, 0.1, 0.4, 0.9, 1.0]))
def test_the_matches_of_the_foreground_are_those_of_all(seed, images, priors, share):
    ours, flipped, draws = _draw(seed, images, priors)
    foreground = torch.rand(images, priors, generator=draws) < share
    likely = torch.randint(priors, (priors,), generator=draws)  # a bad guess must not change the result
    expected = [
        [match if match >= 0 and wanted[match] else -1 for match in _matched(mine, theirs, 30)]
        for mine, theirs, wanted in zip(ours.tolist(), flipped.tolist(), foreground.tolist(), strict=True)
    ]
    assert match_by_iou(ours, flipped, 30, foreground=foreground).tolist() == expected
    assert match_by_iou(ours, flipped, 30, foreground=foreground, likely=likely).tolist() == expected


@pytest.mark.slow
def test_at_the_size_of_a_network_in_several_chunks():
    draws = torch.Generator().manual_seed(0)
    priors = TINY_96.priors()
    ours, flipped = (corners(decode(0.5 * torch.randn(2, len(priors), 4, generator=draws), priors)) for _ in range(2))
    matched = match_by_iou(ours, flipped, 1.0)
    mirrored = torch.stack([1 - flipped[..., 2], flipped[..., 1], 1 - flipped[..., 0], flipped[..., 3]], -1)
    for image in range(2):
        best = box_iou(mirrored[image], ours[image]).max(1)
        assert torch.equal(matched[image], best.indices.where(best.values > 0, -1))
    foreground = torch.rand(2, len(priors), generator=draws) < 0.01
    wanted = matched.where(foreground.gather(1, matched), -1)
    assert 10 < (wanted >= 0).sum() < len(priors)
    assert torch.equal(match_by_iou(ours, flipped, 1.0, foreground=foreground), wanted)
    for likely in (matched[0].clamp(min=0), torch.arange(len(priors))):  # the first image's true answer, and nonsense
        assert torch.equal(match_by_iou(ours, flipped, 1.0, foreground=foreground, likely=likely), wanted)


def test_of_equal_overlaps_the_first_decides_whether_the_pair_counts():
    box = torch.tensor([[[0.0, 0, 4, 4], [0.0, 0, 4, 4], [9.0, 9, 10, 10]]])
    flipped = torch.tensor([[[6.0, 0, 10, 4], [0.0, 9, 1, 10], [5.0, 5, 6, 6]]])
    for foreground, expected in (
        ([True, False, True], [0, 2, -1]),
        ([False, True, False], [-1, -1, -1]),  # the match is the first box, which is background
    ):
        found = match_by_iou(box, flipped, 10, foreground=torch.tensor([foreground]), likely=torch.tensor([1, 2, 0]))
        assert found.tolist() == [expected]


def test_mirrored_boxes_are_matched_with_themselves():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [60, 0, 80, 30], [40, 40, 50, 99]]])
    flipped = torch.stack([100 - boxes[..., 2], boxes[..., 1], 100 - boxes[..., 0], boxes[..., 3]], -1)[:, [2, 0, 1]]
    assert match_by_iou(boxes, flipped, width=100).tolist() == [[2, 0, 1]]
    assert match_by_iou(boxes[:, :0], flipped[:, :0], width=100).shape == (1, 0)
    assert match_by_iou(boxes[:0], flipped[:0], width=100).shape == (0, 3)


def test_iou_is_that_of_torchvision():
    draws = torch.Generator().manual_seed(1)
    first, second = (torch.rand(2, 40, 2, generator=draws).sort(0).values for _ in range(2))
    first, second = (torch.cat([low, high], 1) for low, high in (first, second))
    assert torch.equal(iou(first[:, None], second), box_iou(first, second))
    assert torch.equal(iou(first, second), box_iou(first, second).diagonal())


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"must be Float\[B P 4\], got shapes \[1, 2, 4\] and \[1, 3, 4\]"):
        match_by_iou(torch.zeros(1, 2, 4), torch.zeros(1, 3, 4), width=1)
