"""Assignments of ATSS and DDOD beside obvious loops, the hand case, and edges."""

import math
import statistics

import pytest
import torch
from multibox_reference import iou

from alpl.losses.atss import atss_matches, candidates_of, level_weights, quality_matches

BACKGROUND = -1


def grid(stride, side, size):
    """Square anchors on a map, centered at column x stride as torchvision's."""
    return [
        (x * stride - size / 2, y * stride - size / 2, x * stride + size / 2, y * stride + size / 2)
        for y in range(side)
        for x in range(side)
    ]


ANCHORS = grid(4, 12, 16) + grid(8, 6, 32) + grid(16, 3, 64)
LENGTHS = [144, 36, 9]


def boxes_of(number, seed):
    """Corners on quarters of pixels, so that distances and their ties are exact."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randint(0, 120, (number, 2), generator=generator)
    return torch.cat([start, start + torch.randint(8, 120, (number, 2), generator=generator)], 1) / 4


def center(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def loop(anchors, lengths, boxes, quality, topk):
    """ATSS, Algorithm 1, object by object; ``quality(p, n)`` stands for the IoU."""
    claims = {}
    for n, box in enumerate(boxes):
        chosen, start = [], 0
        for length in lengths:
            places = range(start, start + length)
            chosen += sorted(places, key=lambda p, box=box: (math.dist(center(anchors[p]), center(box)), p))[:topk]
            start += length
        values = [quality(p, n) for p in chosen]
        least = statistics.mean(values) + (statistics.stdev(values) if len(values) > 1 else 0.0)
        for p, value in zip(chosen, values, strict=True):
            (x, y), (x1, y1, x2, y2) = center(anchors[p]), box
            if value >= least and min(x - x1, y - y1, x2 - x, y2 - y) > 0.01:
                claims.setdefault(p, []).append((-value, n))
    return [min(claims[p])[1] if p in claims else BACKGROUND for p in range(len(anchors))]


@pytest.mark.parametrize("topk", [1, 9, 40])
@pytest.mark.parametrize("number", [1, 7])
def test_matches_are_those_of_a_loop(topk, number):
    anchors, met = torch.tensor(ANCHORS), 0
    for seed in range(3):
        boxes = boxes_of(number, seed)
        found = atss_matches(anchors, LENGTHS, boxes, topk)
        objects = boxes.tolist()
        assert found.tolist() == loop(
            ANCHORS, LENGTHS, objects, lambda p, n, objects=objects: iou(ANCHORS[p], objects[n]), topk
        )
        met += int((found >= 0).sum())
    assert met > 0


def test_the_hand_case():
    """One map, stride 8: the object (8, 8, 40, 40) has its center at cell (3, 3), whose anchor is the object itself.

    The nine candidates are the cells around it: IoU 1 once, 24 x 32 / (2 x 1024 - 768) = 0.6 four times, 24 x 24 /
    (2 x 1024 - 576) = 0.3913 four times. Mean 0.5517, deviation 0.1908, threshold 0.7425: one is left.
    """
    anchors, boxes = torch.tensor(grid(8, 6, 32)), torch.tensor([[8.0, 8.0, 40.0, 40.0]])
    candidates = candidates_of(anchors, [36], boxes, 9).flatten().tolist()
    assert sorted(candidates) == [6 * y + x for y in (2, 3, 4) for x in (2, 3, 4)] and candidates[0] == 21
    matched = atss_matches(anchors, [36], boxes)
    assert (matched >= 0).nonzero().flatten().tolist() == [21] and matched[21] == 0


def test_the_deviation_is_over_one_less():
    """Of two candidates mean and deviation over 1 lie above the better one: the object ends with none."""
    anchors = torch.tensor([[0.0, 0.0, 8.0, 8.0], [1.0, 0.0, 9.0, 8.0]])
    assert atss_matches(anchors, [2], torch.tensor([[0.0, 0.0, 8.0, 9.0]])).tolist() == [BACKGROUND] * 2
    assert atss_matches(anchors, [2], torch.tensor([[0.5, 0.0, 8.5, 9.0]])).tolist() == [0, 0]  # equal ones have none


def test_without_objects_all_is_background():
    assert atss_matches(torch.tensor(ANCHORS), LENGTHS, torch.zeros(0, 4)).tolist() == [BACKGROUND] * len(ANCHORS)
    one, other = quality_matches(
        torch.tensor(ANCHORS), LENGTHS, torch.zeros(0, 4), torch.zeros(189, 0), torch.tensor(ANCHORS), alphas=(0.8, 0.5)
    )
    assert one.tolist() == other.tolist() == [BACKGROUND] * len(ANCHORS)


def test_of_equal_distances_the_first_anchors_count():
    anchors = torch.tensor(grid(8, 4, 32))
    corner = torch.tensor([[6.0, 6.0, 18.0, 18.0]])  # center (12, 12), between four cells; eight more at one distance
    assert sorted(candidates_of(anchors, [16], corner, 4).flatten().tolist()) == [5, 6, 9, 10]
    assert sorted(candidates_of(anchors, [16], corner, 6).flatten().tolist()) == [1, 2, 5, 6, 9, 10]


def test_a_single_candidate_has_no_deviation():
    anchors, boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0]]), torch.tensor([[1.0, 1.0, 9.0, 9.0]])
    assert atss_matches(anchors, [1], boxes).tolist() == [0]
    assert atss_matches(anchors, [1], boxes + 3).tolist() == [BACKGROUND]  # its center, (4, 4), lies on the rim


def test_an_anchor_of_two_objects_goes_to_the_better_one_and_to_the_first_of_equal_ones():
    anchors = torch.tensor([[0.0, 0.0, 8.0, 8.0]])
    far, near = [0.0, 0.0, 8.0, 12.0], [0.0, 0.0, 8.0, 9.0]
    assert atss_matches(anchors, [1], torch.tensor([far, near])).tolist() == [1]
    assert atss_matches(anchors, [1], torch.tensor([near, far])).tolist() == [0]
    assert atss_matches(anchors, [1], torch.tensor([near, near])).tolist() == [0]


def predicted(seed):
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.tensor(ANCHORS) + 6 * torch.randn(len(ANCHORS), 4, generator=generator)
    return torch.cat([torch.minimum(boxes[:, :2], boxes[:, 2:]), torch.maximum(boxes[:, :2], boxes[:, 2:])], 1)


@pytest.mark.parametrize("number", [1, 5])
def test_matches_of_quality_are_those_of_a_loop(number):
    anchors, alphas, met = torch.tensor(ANCHORS), (0.0, 0.5, 0.8, 1.0), 0
    for seed in range(3):
        boxes, guesses = boxes_of(number, seed), predicted(seed)
        probs = torch.rand(len(ANCHORS), number, generator=torch.Generator().manual_seed(seed))
        found = quality_matches(anchors, LENGTHS, boxes, probs, guesses, alphas=alphas)
        p, b, o = probs.double().tolist(), guesses.tolist(), boxes.tolist()
        overlap = [[iou(guess, box) for box in o] for guess in b]
        for alpha, matched in zip(alphas, found, strict=True):
            quality = [
                [x ** (1 - alpha) * y**alpha for x, y in zip(*row, strict=True)] for row in zip(p, overlap, strict=True)
            ]
            expected = loop(ANCHORS, LENGTHS, o, lambda a, n, table=quality: table[a][n], 9)
            assert matched.tolist() == expected, (seed, alpha)
            met += int((matched >= 0).sum())
    assert met > 20


def test_quality_of_anchors_themselves_by_iou_alone_is_atss():
    anchors, boxes = torch.tensor(ANCHORS), boxes_of(6, 3)
    probs = torch.rand(len(ANCHORS), 6)
    (found,) = quality_matches(anchors, LENGTHS, boxes, probs, anchors, alphas=(1.0,))
    assert torch.equal(found, atss_matches(anchors, LENGTHS, boxes)) and bool((found >= 0).any())


def test_levels_with_few_positives_weigh_more():
    assert level_weights(torch.tensor([10, 30, 20])).tolist() == [2.0, 1.0, 1.5]
    assert level_weights(torch.zeros(2, 4, dtype=torch.long)).tolist() == [[2.0] * 4] * 2
    assert level_weights(torch.tensor([[7, 7], [0, 1]])).tolist() == [[2.0, 2.0], [2.0, 1.0]]
