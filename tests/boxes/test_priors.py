import math
from dataclasses import replace

import pytest
import torch

from alpl.boxes.priors import COCO_300, TINY_96, VOC_300, PriorLayout, ssd_priors
from alpl.errors import ConfigError


def _reference(layout):
    """The numbers of the released models, box by box (facts on SSD300, "Priors")."""
    size = layout.image_size
    boxes = []
    for k, side in enumerate(layout.map_sizes):
        for i in range(side):
            for j in range(side):
                cx = (j + 0.5) / (size / layout.steps[k])
                cy = (i + 0.5) / (size / layout.steps[k])
                small = layout.min_sizes[k] / size
                between = math.sqrt(small * (layout.max_sizes[k] / size))
                boxes.append((cx, cy, small, small))
                boxes.append((cx, cy, between, between))
                for ratio in layout.aspect_ratios[k]:
                    boxes.append((cx, cy, small * math.sqrt(ratio), small / math.sqrt(ratio)))
                    boxes.append((cx, cy, small / math.sqrt(ratio), small * math.sqrt(ratio)))
    if layout.clip:
        boxes = [tuple(min(max(number, 0.0), 1.0) for number in box) for box in boxes]
    return torch.tensor(boxes, dtype=torch.float64).float()


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize(
    "layout",
    [VOC_300, COCO_300, TINY_96, PriorLayout(64, (3, 2), (20, 30), (10, 30), (30, 50), ((), (1.5, 4.0, 5.0)))],
)
def test_every_number_is_that_of_the_loop(layout, clip):
    layout = replace(layout, clip=clip)
    assert torch.equal(layout.priors(), _reference(layout))


@pytest.mark.parametrize(("layout", "number"), [(VOC_300, 8732), (COCO_300, 8732), (TINY_96, 3060)])
def test_the_counts_are_the_published_ones(layout, number):
    assert layout.priors().shape == (number, 4) and layout.num_priors == number
    assert layout.priors().dtype == torch.float32


def test_boxes_per_cell_of_ssd300():
    assert VOC_300.boxes_per_cell == COCO_300.boxes_per_cell == (4, 6, 6, 6, 4, 4)


def test_the_first_cell_of_voc_by_hand():
    expected = [  # 30 / 300, sqrt(.1 * .2), .1 * sqrt 2 and .1 / sqrt 2, around 4 / 300
        [4 / 300, 4 / 300, 0.1, 0.1],
        [4 / 300, 4 / 300, 0.14142136, 0.14142136],
        [4 / 300, 4 / 300, 0.14142136, 0.07071068],
        [4 / 300, 4 / 300, 0.07071068, 0.14142136],
        [12 / 300, 4 / 300, 0.1, 0.1],  # the next column of the same row
    ]
    torch.testing.assert_close(VOC_300.priors()[:5], torch.tensor(expected))
    torch.testing.assert_close(VOC_300.priors()[38 * 4], torch.tensor([4 / 300, 12 / 300, 0.1, 0.1]))  # the next row


def test_centers_follow_the_steps_and_not_the_sides_of_the_maps():
    """10 / 9.375 of the image: the last center of the third map lies beyond 1 until it is clipped."""
    third = slice(38 * 38 * 4 + 19 * 19 * 6, 38 * 38 * 4 + 19 * 19 * 6 + 600)
    unclipped = replace(VOC_300, clip=False).priors()[third]
    assert unclipped[:, 0].max().item() == pytest.approx(9.5 / 9.375)
    assert VOC_300.priors()[third][:, 0].max() == 1
    assert unclipped[:, 0].unique().numel() == 10


def test_the_last_prior_covers_most_of_the_image():
    last = VOC_300.priors()[-4:]
    torch.testing.assert_close(last[:, :2], torch.full((4, 2), 0.5))
    assert last[1, 2].item() == pytest.approx(math.sqrt(0.88 * 1.05)) and last[2, 2] == 1  # .88 * sqrt 2 is clipped


def test_lists_of_different_lengths_are_an_error():
    with pytest.raises(ConfigError, match=r"steps must have one entry for each of 4 maps, got \(8,\)"):
        replace(TINY_96, steps=(8,))
    with pytest.raises(ConfigError, match=r"map_sizes must have one entry for each of 0 maps, got \(\)"):
        replace(TINY_96, map_sizes=())
    with pytest.raises(ValueError, match="zip"):
        ssd_priors(96, (12, 6), (8,), (10, 20), (20, 38), ((), ()))


@pytest.mark.parametrize(
    ("name", "value"),
    [("min_sizes", (10, 0, 38, 64)), ("aspect_ratios", ((2.0,), (), (-1.0,), ())), ("steps", (0,) * 4)],
)
def test_what_is_not_positive_is_an_error(name, value):
    with pytest.raises(ConfigError, match=f"{name} must be > 0, got"):
        replace(TINY_96, **{name: value})


def test_an_image_without_size_is_an_error():
    with pytest.raises(ConfigError, match="image_size must be >= 1, got 0"):
        replace(TINY_96, image_size=0)
