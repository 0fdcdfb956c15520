"""Objects as points: targets beside a loop over cells, radii beside displaced boxes, peaks, and boxes out of both."""

import math

import pytest
import torch

from alpl.boxes.centers import boxes_at, center_targets, gaussian_radius, peaks
from alpl.boxes.objects import Objects

K, STRIDE, SHAPE = 3, 4, (12, 20)  # cells high and wide: 48 x 80 pixels


def objects_of(boxes, labels):
    boxes = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    return Objects(boxes, torch.tensor(labels, dtype=torch.long), torch.zeros(len(boxes), dtype=torch.bool))


SCENES = [
    objects_of([[3, 5, 22.5, 31], [10, 8, 30, 40], [0, 0, 80, 48], [60, 40, 80, 48]], [0, 0, 2, 1]),
    objects_of([], []),
    objects_of([[8, 8, 16, 17], [10, 9, 15, 16.5], [70, 30, 70, 40]], [1, 1, 0]),  # two in one cell, one without width
]


def reference(objects, rule):
    """Cell by cell and object by object: heat, and (label, cell, size, offset) of each object that counts."""
    high, wide = SHAPE
    heat, told = torch.zeros(K, high, wide), []
    for box, label in zip(objects.boxes.tolist(), objects.labels.tolist(), strict=True):
        less = 1 if rule == "as_released" else 0
        limits = [wide - less, high - less] * 2
        x1, y1, x2, y2 = (min(max(side / STRIDE, 0), limit) for side, limit in zip(box, limits, strict=True))
        if x2 <= x1 or y2 <= y1:
            continue
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        column, row = min(int(x), wide - 1), min(int(y), high - 1)
        size = torch.tensor([[math.ceil(x2 - x1), math.ceil(y2 - y1)]], dtype=torch.float32)
        radius = int(gaussian_radius(size, rule))
        sigma = (2 * radius + 1) / 6
        for i in range(max(0, row - radius), min(high, row + radius + 1)):
            for j in range(max(0, column - radius), min(wide, column + radius + 1)):
                value = math.exp(-((i - row) ** 2 + (j - column) ** 2) / (2 * sigma**2))
                heat[label, i, j] = max(float(heat[label, i, j]), value)
        told.append((label, row * wide + column, x2 - x1, y2 - y1, x - column, y - row))
    return heat, told


@pytest.mark.parametrize("rule", ["as_written", "as_released"])
def test_targets_are_those_of_a_loop(rule):
    found = center_targets(SCENES, K, SHAPE, STRIDE, rule)
    assert found.heat.shape == (3, K, *SHAPE) and found.row.tolist() == [0] * 4 + [2] * 2
    expected = [reference(each, rule) for each in SCENES]
    torch.testing.assert_close(found.heat, torch.stack([heat for heat, _ in expected]))
    parts = [found.labels[:, None], found.cells[:, None], found.sizes, found.offsets]
    told = torch.cat([part.float() for part in parts], 1)
    torch.testing.assert_close(told, torch.tensor([each for _, of_image in expected for each in of_image]))
    assert int((found.heat == 1).sum()) == 5  # of six objects, two share a cell


def test_a_gaussian_by_hand():
    # 40 x 40 pixels are 10 x 10 cells: as released a radius of 2, sigma 5/6
    one = objects_of([[20, 4, 60, 44]], [1])
    heat = center_targets([one], K, SHAPE, STRIDE, "as_released").heat[0, 1]
    assert float(heat[6, 10]) == 1 and float(heat[6, 12]) == pytest.approx(math.exp(-2 / (25 / 36)))
    assert float(heat[4, 8]) == pytest.approx(math.exp(-4 / (25 / 36))) and int((heat > 0).sum()) == 25
    assert int((center_targets([one], K, SHAPE, STRIDE, "as_written").heat > 0).sum()) == 1


def overlap(width, height, first, second):
    """IoU of a box with one whose upper left and lower right corners are moved by so much, in both directions."""
    inner = (width - max(first, 0) + min(second, 0)) * (height - max(first, 0) + min(second, 0))
    moved = (width - first + second) * (height - first + second)
    return inner / (width * height + moved - inner)


@pytest.mark.parametrize(("width", "height"), [(10, 10), (40, 30), (90, 12), (64, 100)])
def test_boxes_displaced_by_the_radius_overlap_enough_and_by_a_cell_more_do_not(width, height):
    radius = float(gaussian_radius(torch.tensor([[width, height]], dtype=torch.float32), "as_written"))
    worst = [min(overlap(width, height, a * r, b * r) for a in (-1, 1) for b in (-1, 1)) for r in (radius, radius + 1)]
    assert worst[0] >= 0.7 > worst[1]


def test_no_object_at_all():
    found = center_targets([Objects.none(), Objects.none()], K, SHAPE, STRIDE, "as_written")
    assert not found.heat.any() and found.heat.shape == (2, K, *SHAPE) and found.boxes.shape == (0, 4)


def test_targets_give_the_boxes_back():
    found = center_targets(SCENES, K, SHAPE, STRIDE, "as_written")
    boxes = boxes_at(found.cells, found.sizes, found.offsets, SHAPE[1], STRIDE)
    torch.testing.assert_close(boxes, found.boxes, atol=1e-3, rtol=0)
    flat = boxes_at(torch.tensor([3]), torch.tensor([[-1.0, 2.0]]), torch.tensor([[0.5, 0.5]]), SHAPE[1], STRIDE)
    assert flat.tolist() == [[14.0, -2.0, 14.0, 6.0]]  # no width below 0


def test_peaks_are_the_cells_that_no_neighbor_exceeds():
    heat = torch.randint(1, 6, (2, 2, 7, 9), generator=torch.Generator().manual_seed(0)).float() / 6  # with ties
    found = peaks(heat)
    for place in torch.cartesian_prod(*(torch.arange(n) for n in heat.shape)).tolist():
        image, label, i, j = place
        around = heat[image, label, max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
        value = heat[tuple(place)]
        assert found[tuple(place)] == (value if value == around.max() else 0)
    equal = torch.tensor([[[[0.2, 0.5, 0.5, 0.1]]]])
    assert peaks(equal).flatten().tolist() == pytest.approx([0, 0.5, 0.5, 0])
