import math

import pytest
import torch

from alpl.boxes.objects import Objects
from alpl.data.center_augment import BORDER, SCALES, CenterAugmentation, jitter, random_part
from alpl.data.keep_ratio import KeepRatioResize
from alpl.data.patches import Patch, cut_off, resample
from alpl.errors import ConfigError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def objects_in(*boxes):
    boxes = torch.tensor(boxes, dtype=torch.float32)
    return Objects(boxes, torch.arange(len(boxes)), torch.zeros(len(boxes), dtype=torch.bool))


@pytest.mark.parametrize(
    ("size", "shape"), [((375, 500), (384, 384)), ((375, 1242), (384, 1280)), ((60, 40), (64, 64))]
)
def test_parts_are_of_eight_sizes_around_centers_within_the_image(size, shape):
    drawn = [random_part(*size, shape, generator(n)) for n in range(200)]
    widths = {max(1, round(scale * max(size))) for scale in SCALES}
    assert {patch.width for patch in drawn} == widths
    for patch in drawn:
        assert abs(patch.height - patch.width * shape[0] / shape[1]) <= 0.5
        for low, length, side in ((patch.left, patch.width, size[1]), (patch.top, patch.height, size[0])):
            border = next(b for b in (BORDER, 64, 32, 16) if side > 2 * b)
            assert border <= low + length // 2 < side - border
    assert len({patch.left for patch in drawn}) > 20
    assert random_part(1, 1, (32, 32), generator()).width == 1  # the smallest image has a center, too


def test_objects_are_cut_off_and_none_that_is_seen_is_left_out():
    objects = objects_in([0, 0, 30, 30], [25, 25, 90, 90], [0, 0, 20, 60], [60, 60, 80, 80], [30, 20, 40, 50])
    found = cut_off(objects, Patch(20, 20, 60, 60))
    assert found.labels.tolist() == [0, 1, 4]  # the third only touches, the fourth lies beyond
    assert found.boxes.tolist() == [[0, 0, 10, 10], [5, 5, 40, 40], [10, 0, 20, 30]]


def test_boxes_go_where_their_pixels_go():
    image = torch.zeros(3, 90, 120, dtype=torch.uint8)
    image[:, 40:50, 55:70] = 255
    for seed in range(12):
        shown, objects = CenterAugmentation(96, 128)(image, objects_in([55, 40, 70, 50]), generator(seed))
        assert shown.shape == (3, 96, 128)
        gray = shown.mean(0)
        inside = gray > (gray.max() + gray.min()) / 2
        rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert objects.boxes[0].tolist() == pytest.approx([float(side) for side in seen], abs=1.6)


def test_beyond_the_image_it_is_black_before_colors_change(monkeypatch):
    monkeypatch.setattr("alpl.data.center_augment.jitter", lambda pixels, _: pixels)
    image = torch.full((3, 64, 64), 255, dtype=torch.uint8)
    drawn = [random_part(64, 64, (64, 64), generator(seed)) for seed in range(20)]
    seed = next(n for n, patch in enumerate(drawn) if patch.left < 0 and patch.right > 40)
    patch = drawn[seed]
    shown, _ = CenterAugmentation(64, 64, flip=0.0)(image, Objects.none(), generator(seed))
    pixels = KeepRatioResize(1, 1).pixels(shown)
    assert torch.equal(pixels.round(), resample(image.float(), patch, torch.zeros(3, 1, 1), 64).round())
    assert pixels.min().abs() < 1e-3 and pixels.max() > 254


def test_colors_by_hand(monkeypatch):
    shares = iter([1.2, 0.7, 1.3])
    monkeypatch.setattr("alpl.data.center_augment.uniform", lambda *_: next(shares) - 1)
    monkeypatch.setattr(torch, "randperm", lambda *_, **__: torch.tensor([2, 0, 1]))
    monkeypatch.setattr(torch, "randn", lambda *_, **__: torch.tensor([1.0, -2.0, 0.0]))
    pixels = torch.rand(3, 2, 2, generator=generator())
    gray = 0.299 * pixels[0] + 0.587 * pixels[1] + 0.114 * pixels[2]
    mean = sum(gray.flatten().tolist()) / 4
    expected = pixels * 1.2 + gray * (1 - 1.2)  # saturation
    expected = expected * 0.7  # brightness
    expected = expected * 1.3 + mean * (1 - 1.3)  # contrast
    light = [
        0.1 * (0.2175 * a - 2 * 0.0188 * b) for a, b in ((-0.5675, 0.7192), (-0.5808, -0.0045), (-0.5836, -0.6948))
    ]
    torch.testing.assert_close(jitter(pixels, generator()), expected + torch.tensor(light)[:, None, None])


def test_the_generator_decides_everything_and_unlabeled_images_are_welcome():
    image = torch.randint(256, (3, 70, 50), generator=generator(), dtype=torch.uint8)
    augment = CenterAugmentation(32, 32)
    first, objects = augment(image, Objects.none(), generator(4))
    assert torch.equal(first, augment(image, objects_in([1, 1, 9, 9]), generator(4))[0]) and len(objects) == 0
    assert not torch.equal(first, augment(image, Objects.none(), generator(5))[0])
    assert math.isfinite(float(first.sum()))
    for arguments, message in (((0, 32), "height and width must be >= 1"), ((32, 32), r"flip must be in \[0, 1\]")):
        with pytest.raises(ConfigError, match=message):
            CenterAugmentation(*arguments, flip=2.0)
