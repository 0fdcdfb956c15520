import colorsys
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou

from alpl.boxes.objects import Objects
from alpl.data.patches import (
    MIN_OVERLAPS,
    Patch,
    centers_inside,
    cut,
    keep_inside,
    mirror,
    random_canvas,
    random_patch,
    resample,
)
from alpl.data.photometric import distort, hsv_to_rgb, rgb_to_hsv
from alpl.data.ssd_augment import PhotometricAugmentation, SsdAugmentation, SsdPreprocess
from alpl.errors import ConfigError
from alpl.machine.seeding import integer, uniform

MEAN = torch.tensor([123.0, 117.0, 104.0]).view(3, 1, 1)
RULES = list(MIN_OVERLAPS)


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _image(height=60, width=80, seed=0):
    return torch.randint(256, (3, height, width), generator=_generator(seed), dtype=torch.uint8)


def _objects(boxes, difficult=None):
    boxes = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    number = len(boxes)
    marks = torch.zeros(number, dtype=torch.bool) if difficult is None else torch.tensor(difficult)
    return Objects(boxes, torch.arange(number), marks)


THREE = [[5.0, 5.0, 30.0, 40.0], [50.0, 10.0, 70.0, 25.0], [20.0, 20.0, 60.0, 55.0]]


# --- pre-processing


@pytest.mark.parametrize("size", [30, 64, 300])
def test_preprocess_is_torchs_bilinear_less_the_mean(size):
    image = _image(47, 80)
    expected = F.interpolate(image[None].float(), (size, size), mode="bilinear", align_corners=False)[0] - MEAN
    torch.testing.assert_close(SsdPreprocess(size)(image), expected, atol=2e-3, rtol=1e-5)


def test_preprocess_by_hand():
    image = torch.tensor([[0, 100], [200, 100]], dtype=torch.uint8).expand(3, 2, 2)
    assert SsdPreprocess(1, (0, 0, 0))(image).flatten().tolist() == [100.0] * 3
    assert SsdPreprocess(2, (10, 20, 30))(image)[:, 0, 1].tolist() == [90.0, 80.0, 70.0]
    # 4 columns of 2: centers at -1/4, 1/4, 3/4, 5/4 of the pixels
    assert SsdPreprocess(4, (0, 0, 0))(image)[0, 0].tolist() == [0.0, 25.0, 75.0, 100.0]


@given(st.integers(-30, 50), st.integers(-30, 40), st.integers(1, 90), st.integers(1, 70), st.integers(1, 40))
def test_resampling_a_patch_is_cutting_then_resizing(left, top, width, height, size):
    pixels = _image(40, 50).float()
    canvas = MEAN.repeat(1, 300, 300)  # the image at (100, 100)
    canvas[:, 100:140, 100:150] = pixels
    part = canvas[:, 100 + top : 100 + top + height, 100 + left : 100 + left + width]
    expected = F.interpolate(part[None], (size, size), mode="bilinear", align_corners=False)[0]
    patch = Patch(left, top, left + width, top + height)
    torch.testing.assert_close(resample(pixels, patch, MEAN, size), expected, atol=5e-3, rtol=1e-5)


# --- photometric distortion


def test_hsv_is_that_of_the_standard_library():
    pixels = 255 * torch.rand(3, 8, 9, generator=_generator(), dtype=torch.float64)
    hue, saturation, value = rgb_to_hsv(pixels)
    for y in range(8):
        for x in range(9):
            h, s, v = colorsys.rgb_to_hsv(*(pixels[:, y, x] / 255).tolist())
            assert hue[y, x].item() == pytest.approx(360 * h, abs=1e-4)
            assert saturation[y, x].item() == pytest.approx(s, abs=1e-6)
            assert value[y, x].item() == pytest.approx(255 * v)


def test_hsv_of_pure_and_gray_colors():
    colors = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 0, 255], [80, 80, 80], [0, 0, 0]]).float()
    hue, saturation, value = rgb_to_hsv(colors.T.view(3, 2, 3)).flatten(1)
    torch.testing.assert_close(hue, torch.tensor([0.0, 120.0, 240.0, 300.0, 0.0, 0.0]))
    torch.testing.assert_close(saturation, torch.tensor([1.0, 1, 1, 1, 0, 0]))
    assert value.tolist() == [255, 255, 255, 255, 80, 0]


def test_hsv_and_back():
    pixels = 300 * torch.rand(3, 20, 30, generator=_generator())  # brightness takes pixels above 255
    torch.testing.assert_close(hsv_to_rgb(rgb_to_hsv(pixels)), pixels, atol=1e-3, rtol=1e-5)


def test_distortions_stay_in_their_bounds_and_leave_the_image_alone():
    pixels = torch.full((3, 4, 4), 100.0)
    kept = pixels.clone()
    gray = torch.stack([distort(pixels, _generator(seed)) for seed in range(400)])
    assert torch.equal(pixels, kept)
    assert gray.min() >= 68 * 0.5 - 1e-3 and gray.max() <= 132 * 1.5 + 1e-3
    assert gray.min() < 60 and gray.max() > 160  # and use them
    assert gray.std((1, 2, 3)).max() < 1e-3  # a gray pixel has no hue and no saturation to change


def test_how_often_each_distortion_happens():
    pixels = torch.tensor([200.0, 100.0, 50.0]).view(3, 1, 1)
    results = torch.stack([distort(pixels, _generator(seed)).flatten() for seed in range(3000)])
    untouched = (results - pixels.flatten()).abs().amax(1) < 1e-3
    # nothing of brightness, contrast, saturation, hue: 1/16; no channels exchanged: 1/2 + 1/12
    assert untouched.float().mean().item() == pytest.approx(7 / 12 / 16, abs=0.012)
    assert (results[:, 0] == results.amax(1)).float().mean().item() == pytest.approx(1 / 2 + 1 / 2 / 3, abs=0.04)


def test_hue_turns_the_other_channels():
    """Without exchange of channels the largest stays red: hue turns by 18 degrees at most, 40 would be needed."""
    pixels = torch.tensor([200.0, 100.0, 50.0]).view(3, 1, 1)  # hue 20
    hues = []
    for seed in range(600):
        result = distort(pixels, _generator(seed))
        if result[0] > result[1] > result[2]:
            hues.append(rgb_to_hsv(result)[0].item())
    assert 1 < min(hues) < 6 and 34 < max(hues) < 39


# --- canvas, patch, mirror


def test_canvas_holds_the_image_and_is_up_to_four_times_as_large():
    canvases = [random_canvas(60, 80, _generator(seed)) for seed in range(1000)]
    same = [canvas == (0, 0, 80, 60) for canvas in canvases]
    assert sum(same) / 1000 == pytest.approx(0.5, abs=0.05)
    for canvas in canvases:
        assert canvas.left <= 0 and canvas.top <= 0 and canvas.right >= 80 and canvas.bottom >= 60
        assert canvas.width <= 320 and canvas.height <= 240
        assert canvas.width / 80 == pytest.approx(canvas.height / 60, abs=1 / 60)
    assert max(canvas.width for canvas in canvases) > 310
    left = [-canvas.left / (canvas.width - 80) for canvas in canvases if canvas.width > 90]
    assert sum(left) / len(left) == pytest.approx(0.5, abs=0.05) and max(left) > 0.97 and min(left) < 0.03


WHOLE = Patch(0, 0, 80, 60)


def _overlap(patch, boxes):
    best = 0.0
    for x1, y1, x2, y2 in boxes:
        width, height = min(patch.right, x2) - max(patch.left, x1), min(patch.bottom, y2) - max(patch.top, y1)
        both = max(width, 0) * max(height, 0)
        best = max(best, both / (patch.width * patch.height + (x2 - x1) * (y2 - y1) - both))
    return best


@pytest.mark.parametrize("crop", RULES)
def test_patches_lie_in_the_canvas_and_hold_a_center(crop):
    canvas = Patch(-20, -7, 80, 60)
    for seed in range(300):
        patch = random_patch(canvas, torch.tensor(THREE), _generator(seed), crop)
        if patch is None:
            continue
        assert canvas.left <= patch.left < patch.right <= canvas.right
        assert canvas.top <= patch.top < patch.bottom <= canvas.bottom
        centers = [((x1 + x2) / 2, (y1 + y2) / 2) for x1, y1, x2, y2 in THREE]
        assert any(patch.left < x < patch.right and patch.top < y < patch.bottom for x, y in centers)


def test_the_whole_image_is_one_mode_of_six_as_released():
    """The modes of a minimum overlap are free crops: their objects' overlap goes far below 0.1."""
    patches = [random_patch(WHOLE, torch.tensor(THREE[1:2]), _generator(seed), "as_released") for seed in range(3000)]
    assert sum(patch is None for patch in patches) / 3000 == pytest.approx(1 / 6, abs=0.025)
    drawn = [patch for patch in patches if patch is not None]
    assert min(_overlap(patch, THREE[1:2]) for patch in drawn) < 0.08
    for patch in drawn:  # each side .3 to 1, ratio of pixels 1/2 to 2, to a pixel
        assert 0.3 * 80 - 1 <= patch.width <= 80 and 0.3 * 60 - 1 <= patch.height <= 60
        assert 0.5 * (patch.width - 1) <= patch.height + 1 and patch.height - 1 <= 2 * (patch.width + 1)


@pytest.mark.slow
def test_overlaps_are_enforced_as_written():
    """An object that fills the image has the share of a patch's area as its overlap: at least the mode's."""
    boxes = torch.tensor([[0.0, 0.0, 1000.0, 1000.0]])
    canvas = Patch(0, 0, 1000, 1000)
    patches = [random_patch(canvas, boxes, _generator(seed), "as_written") for seed in range(2100)]
    assert sum(patch is None for patch in patches) / 2100 == pytest.approx(1 / 7, abs=0.03)
    shares = torch.tensor([patch.width * patch.height / 1e6 for patch in patches if patch is not None])
    for number, share in enumerate((0.9, 0.7, 0.5, 0.3, 0.1), start=1):  # of six modes
        # one patch in seventeen reaches .9, so that one mode in twenty gives up after 50 tries
        assert (shares > share - 0.003).float().mean().item() > number / 6 - 0.03


def test_patches_as_written_are_a_tenth_of_the_size_at_least():
    """Without objects nothing is refused: size s is uniform in .1 to 1, and s^2 is the share of the area."""
    canvas = Patch(0, 0, 1000, 500)
    drawn = [random_patch(canvas, torch.zeros(0, 4), _generator(seed), "as_written") for seed in range(1500)]
    patches = [patch for patch in drawn if patch is not None]
    sizes = torch.tensor([(patch.width * patch.height / 5e5) ** 0.5 for patch in patches])
    for quantile in (0.1, 0.5, 0.9):
        assert sizes.quantile(quantile).item() == pytest.approx(0.1 + 0.9 * quantile, abs=0.04)
    ratios = torch.tensor([patch.width / 2 / patch.height for patch in patches])  # in units of the canvas
    assert 0.48 < ratios.min() < 0.6 and 1.8 < ratios.max() < 2.1


@pytest.mark.parametrize("min_overlap", [0.3, 0.7])
def test_each_mode_keeps_its_overlap(min_overlap, monkeypatch):
    monkeypatch.setitem(MIN_OVERLAPS, "as_written", (min_overlap,))
    for seed in range(100):
        patch = random_patch(WHOLE, torch.tensor(THREE), _generator(seed), "as_written")
        assert patch is None or _overlap(patch, THREE) >= min_overlap - 1e-6


@pytest.mark.parametrize("crop", RULES)
def test_without_objects_every_patch_fits(crop):
    patches = [random_patch(WHOLE, torch.zeros(0, 4), _generator(seed), crop) for seed in range(600)]
    expected = 1 / (len(MIN_OVERLAPS[crop]) + 1)
    assert sum(patch is None for patch in patches) / 600 == pytest.approx(expected, abs=0.05)
    assert len(set(patches)) > 400


def test_objects_are_kept_by_their_center_and_cut_off():
    objects = _objects([*THREE, [0.0, 0.0, 40.0, 40.0]], [True, False, False, False])
    kept = keep_inside(objects, Patch(10, 10, 50, 50))
    # centers (17.5, 22.5), (60, 17.5), (40, 37.5), (20, 20)
    assert kept.labels.tolist() == [0, 2, 3] and kept.difficult.tolist() == [True, False, False]
    assert kept.boxes.tolist() == [[0.0, 0.0, 20.0, 30.0], [10.0, 10.0, 40.0, 40.0], [0.0, 0.0, 30.0, 30.0]]
    border = torch.tensor([[0.0, 0.0, 20.0, 40.0]])  # center (10, 20)
    assert not centers_inside(border, Patch(10, 10, 50, 50)).any()
    assert centers_inside(border, Patch(9, 10, 50, 50)).all()


def test_mirror_is_exact_and_its_own_inverse():
    pixels, objects = _image().float(), _objects([[5.0, 6.0, 30.0, 40.0]])
    flipped, moved = mirror(pixels, objects)
    assert moved.boxes.tolist() == [[50.0, 6.0, 75.0, 40.0]]
    for x in range(80):
        assert torch.equal(flipped[:, :, x], pixels[:, :, 79 - x])
    again, back = mirror(flipped, moved)
    assert torch.equal(again, pixels) and torch.equal(back.boxes, objects.boxes)


# --- the whole


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.sampled_from(RULES), st.integers(8, 90), st.integers(8, 90), st.integers(0, 5))
def test_boxes_stay_inside_and_labels_stay_theirs(seed, crop, height, width, number):
    draws = torch.rand(number, 4, generator=_generator(seed))
    start = draws[:, :2] * torch.tensor([width, height]) * 0.7
    boxes = torch.cat([start, start + 0.5 + draws[:, 2:] * (torch.tensor([width, height]) - start - 0.5)], 1)
    objects = Objects(boxes, torch.arange(number), draws[:, 0] < 0.3)
    image = _image(height, width, seed)
    pixels, left = SsdAugmentation(32, crop=crop)(image, objects, _generator(seed))
    assert pixels.shape == (3, 32, 32) and pixels.dtype == torch.float32 and pixels.isfinite().all()
    assert (left.boxes >= 0).all() and (left.boxes <= 32 + 1e-4).all()
    assert (left.boxes[:, 2:] > left.boxes[:, :2]).all()
    assert bool(len(left)) == bool(number)  # a crop holds at least one center
    assert left.labels.tolist() == sorted(set(left.labels.tolist()))
    assert torch.equal(left.difficult, objects.difficult[left.labels])


def test_boxes_follow_the_pixels(monkeypatch):
    """A bright rectangle on black stays under its box through canvas, patch, mirror and resize."""
    monkeypatch.setattr("alpl.data.ssd_augment.random_distortion", lambda generator: lambda pixels: pixels)
    image = torch.zeros(3, 120, 160, dtype=torch.uint8)
    image[:, 30:80, 40:120] = 255
    objects = _objects([[40.0, 30.0, 120.0, 80.0]])
    augment = SsdAugmentation(200, mean=(0, 0, 0))
    for seed in range(60):
        pixels, left = augment(image, objects, _generator(seed))
        bright = (pixels[0] > 127).nonzero()
        (y1, x1), (y2, x2) = bright.amin(0).tolist(), (bright.amax(0) + 1).tolist()
        assert left.boxes[0].tolist() == pytest.approx([x1, y1, x2, y2], abs=1.01)


@pytest.mark.parametrize("crop", RULES)
def test_the_generator_alone_decides(crop):
    image, objects = _image(), _objects(THREE)
    augment = SsdAugmentation(40, crop=crop)
    torch.manual_seed(1)
    first = augment(image, objects, _generator(5))
    torch.manual_seed(2)
    second = augment(image, objects, _generator(5))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1].boxes, second[1].boxes)
    assert not torch.equal(first[0], augment(image, objects, _generator(6))[0])


@pytest.mark.parametrize("crop", RULES)
def test_an_unlabeled_image_needs_no_objects(crop):
    image = _image()
    before = image.clone()
    for seed in range(40):
        pixels, left = SsdAugmentation(24, crop=crop)(image, Objects.none(), _generator(seed))
        assert pixels.shape == (3, 24, 24) and not len(left)
    assert torch.equal(image, before)


def test_half_of_the_images_are_mirrored(monkeypatch):
    monkeypatch.setattr("alpl.data.ssd_augment.random_distortion", lambda generator: lambda pixels: pixels)
    image = torch.arange(0, 240, 3, dtype=torch.uint8).expand(3, 60, 80)  # brighter to the right
    results = [SsdAugmentation(16, mean=(0, 0, 0))(image, Objects.none(), _generator(seed))[0] for seed in range(400)]
    shown = [pixels[0].amax(0) for pixels in results]
    rising = [row[row > 0].diff().sum() >= 0 for row in shown if (row > 0).sum() > 1]
    assert sum(rising) / len(rising) == pytest.approx(0.5, abs=0.08)


def test_arguments_that_cannot_work():
    with pytest.raises(ConfigError, match="size must be >= 1, got 0"):
        SsdPreprocess(0)
    with pytest.raises(ConfigError, match=r"mean must be three numbers, got \[1, 2\]"):
        SsdAugmentation(mean=(1, 2))
    with pytest.raises(ConfigError, match="crop must be one of as_written, as_released, got 'free'"):
        SsdAugmentation(crop="free")


def test_the_largest_expansion_can_be_set():
    canvases = [random_canvas(60, 80, _generator(seed), 1.5) for seed in range(300)]
    ratios = [(canvas.right - canvas.left) / 80 for canvas in canvases]
    assert 1.4 < max(ratios) <= 1.5
    assert {random_canvas(60, 80, _generator(seed), 1.0) for seed in range(50)} == {Patch(0, 0, 80, 60)}
    with pytest.raises(ConfigError, match=r"max_ratio must be >= 1, got 0\.5"):
        SsdAugmentation(max_ratio=0.5)


def test_photometric_augmentation_moves_nothing():
    image = torch.randint(0, 256, (3, 40, 80), dtype=torch.uint8, generator=_generator(0))
    objects = Objects(torch.tensor([[8.0, 4.0, 40.0, 20.0]]), torch.tensor([2]), torch.tensor([False]))
    augment = PhotometricAugmentation(96)
    scene, moved = augment(image, objects, _generator(1))
    torch.testing.assert_close(moved.boxes, torch.tensor([[9.6, 9.6, 48.0, 48.0]]))
    assert torch.equal(moved.labels, objects.labels)
    torch.testing.assert_close(scene, SsdPreprocess(96)(distort(image.float(), _generator(1))))
    assert not torch.equal(scene, augment(image, objects, _generator(2))[0])


# --- what is left out and what is decided in Python's numbers changes nothing


def patch_by_tensors(canvas, boxes, generator, crop):
    """The rule of random_patch, one draw and one tensor after the other."""
    overlaps = MIN_OVERLAPS[crop]
    while True:
        mode = integer(generator, len(overlaps) + 1)
        if mode == len(overlaps):
            return None
        for _ in range(50):
            if crop == "as_written":
                scale = uniform(generator, 0.1, 1)
                ratio = uniform(generator, max(0.5, scale**2), min(2, scale**-2))
                wide, high = canvas.width * scale * math.sqrt(ratio), canvas.height * scale / math.sqrt(ratio)
            else:
                wide = uniform(generator, 0.3, 1) * canvas.width
                high = uniform(generator, 0.3, 1) * canvas.height
                if not 0.5 <= high / wide <= 2:
                    continue
            left, top = uniform(generator, 0, canvas.width - wide), uniform(generator, 0, canvas.height - high)
            x, y = canvas.left, canvas.top
            patch = Patch(x + int(left), y + int(top), x + int(left + wide), y + int(top + high))
            if patch.width < 1 or patch.height < 1:
                continue
            overlap = box_iou(boxes, torch.tensor([patch], dtype=boxes.dtype))
            if not len(boxes) or (centers_inside(boxes, patch).any() and overlap.max() >= overlaps[mode]):
                return patch


@pytest.mark.parametrize("crop", RULES)
def test_patches_are_those_of_the_rule_by_tensors(crop):
    for seed in range(60):
        height, width = [(60, 80), (3, 5), (90, 40)][seed % 3]
        draws = torch.rand(seed % 4, 4, generator=_generator(seed))
        start = draws[:, :2] * torch.tensor([width, height]) * 0.7
        boxes = torch.cat([start, start + 0.5 + draws[:, 2:] * (torch.tensor([width, height]) - start - 0.5)], 1)
        boxes = boxes.round() if seed % 2 else boxes  # centers on the border of patches
        canvas, ours, theirs = Patch(-seed, -7, width, height), _generator(seed), _generator(seed)
        assert random_patch(canvas, boxes, ours, crop) == patch_by_tensors(canvas, boxes, theirs, crop)
        assert torch.equal(ours.get_state(), theirs.get_state())


def test_an_overlap_at_the_minimum_is_decided_as_the_boxes_are_rounded(monkeypatch):
    """A patch of 10 x 10 and a box of 10 x 7 in it: an IoU of 7/10, which float32 rounds down, and so is too small."""
    patch = Patch(0, 0, 10, 10)
    monkeypatch.setattr("alpl.data.patches._draw", lambda *arguments: patch)
    monkeypatch.setitem(MIN_OVERLAPS, "as_written", (0.7,))
    for high, expected in ((7.0, {None}), (7.00001, {None, patch})):
        boxes = torch.tensor([[0.0, 2.0, 10.0, 2.0 + high]])
        found = {random_patch(Patch(0, 0, 20, 20), boxes, _generator(seed), "as_written") for seed in range(20)}
        assert found == expected


@given(st.integers(-60, 90), st.integers(-50, 70), st.integers(1, 99), st.integers(1, 99), st.integers(0, 999))
def test_only_the_shown_part_need_be_changed(left, top, width, height, seed):
    pixels, patch = _image(40, 50, seed).float(), Patch(left, top, left + width, top + height)
    part, place = cut(pixels, patch)
    assert part.shape[1] <= max(height, 1) and part.shape[2] <= max(width, 1)
    expected = resample(distort(pixels, _generator(seed)), patch, MEAN, 24)
    assert torch.equal(resample(distort(part, _generator(seed)), place, MEAN, 24), expected)
