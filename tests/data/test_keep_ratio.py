import pytest
import torch
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from alpl.boxes.objects import Objects
from alpl.data.keep_ratio import IMAGENET_MEAN, IMAGENET_STD, KeepRatioAugmentation, KeepRatioResize
from alpl.data.scene_batches import pad_images
from alpl.errors import ConfigError

SIZES = [(375, 500), (500, 333), (96, 96), (30, 300), (7, 5), (481, 640)]


def image_of(size, seed=0):
    return torch.randint(256, (3, *size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def objects_in(height, width):
    boxes = torch.tensor([[1.0, 2.0, width / 2, height / 3], [width / 3, height / 4, width, height]])
    return Objects(boxes, torch.tensor([1, 0]), torch.tensor([False, True]))


@pytest.mark.parametrize("limits", [(100, 167), (200, 210), (64, 64)])
@torch.no_grad()
def test_the_numbers_are_those_of_torchvision(limits):
    theirs = GeneralizedRCNNTransform(*limits, list(IMAGENET_MEAN), list(IMAGENET_STD))
    images = [image_of(size) for size in SIZES]
    boxes = [objects_in(*size).boxes for size in SIZES]
    expected, moved = theirs([image / 255 for image in images], [{"boxes": each} for each in boxes])
    still = KeepRatioAugmentation(*limits, flip=0.0)
    ours = [still(image, objects_in(*size), torch.Generator()) for image, size in zip(images, SIZES, strict=True)]
    padded, shapes = pad_images([pixels for pixels, _ in ours], 32)
    assert torch.equal(padded, expected.tensors)
    assert [tuple(each) for each in shapes.tolist()] == expected.image_sizes
    for (_, objects), each in zip(ours, moved, strict=True):
        assert torch.equal(objects.boxes, each["boxes"])
    for (pixels, _), image in zip(ours, images, strict=True):
        assert torch.equal(pixels, KeepRatioResize(*limits)(image))


def test_sizes_keep_the_ratio_within_the_limits():
    resize = KeepRatioResize(800, 1333)
    assert resize.size_of(480, 640) == (800, 1066) and resize.size_of(640, 480) == (1066, 800)
    assert resize.size_of(300, 900) == (444, 1333) and resize.size_of(2000, 1000) == (1333, 666)
    assert KeepRatioResize(4, 8).size_of(1, 1000) == (1, 8)


def test_the_mirror_image_mirrors_pixels_and_boxes_with_its_probability():
    image, objects = image_of((40, 60)), objects_in(40, 60)
    plain, moved = KeepRatioAugmentation(20, 40, flip=0.0)(image, objects, torch.Generator().manual_seed(0))
    flipped, there = KeepRatioAugmentation(20, 40, flip=1.0)(image, objects, torch.Generator().manual_seed(0))
    assert torch.equal(flipped, plain.flip(2)) and plain.shape == (3, 20, 30)
    assert torch.equal(
        there.boxes,
        torch.stack([30 - moved.boxes[:, 2], moved.boxes[:, 1], 30 - moved.boxes[:, 0], moved.boxes[:, 3]], 1),
    )
    assert torch.equal(there.labels, objects.labels) and torch.equal(there.difficult, objects.difficult)
    half = KeepRatioAugmentation(20, 40)
    drawn = [torch.equal(half(image, objects, torch.Generator().manual_seed(n))[0], flipped) for n in range(200)]
    assert 70 < sum(drawn) < 130
    again = [torch.equal(half(image, objects, torch.Generator().manual_seed(n))[0], flipped) for n in range(200)]
    assert drawn == again


def test_colors_change_only_where_asked_for_and_boxes_do_not():
    image, objects = image_of((40, 60)), objects_in(40, 60)
    calm, lively = (KeepRatioAugmentation(20, 40, flip=0.0, photometric=each) for each in (False, True))
    seeds = [torch.Generator().manual_seed(n) for n in range(5)]
    assert len({float(calm(image, objects, seed)[0].sum()) for seed in seeds}) == 1
    results = [lively(image, objects, torch.Generator().manual_seed(n)) for n in range(5)]
    assert len({float(pixels.sum()) for pixels, _ in results}) > 1
    assert all(torch.equal(each.boxes, objects.boxes / 2) for _, each in results)
    pixels, none = lively(image, Objects.none(), torch.Generator().manual_seed(0))
    assert torch.equal(pixels, results[0][0]) and len(none) == 0


@pytest.mark.parametrize(
    "options, message",
    [
        ({"min_size": 0}, "min_size must be in 1 to max_size"),
        ({"min_size": 50}, r"min_size must be in 1 to max_size \(40\), got 50"),
        ({"mean": [0.5]}, "mean and std must be three numbers"),
        ({"std": [1.0, 1.0, 0.0]}, "std > 0"),
        ({"flip": 1.5}, r"flip must be in \[0, 1\], got 1.5"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        KeepRatioAugmentation(**({"min_size": 20, "max_size": 40} | options))


def test_the_height_may_be_what_is_fixed():
    by_height, by_shorter = KeepRatioResize(300, 1333, side="height"), KeepRatioResize(300, 1333)
    assert by_height.size_of(480, 640) == by_shorter.size_of(480, 640) == (300, 400)
    assert by_height.size_of(640, 480) == (300, 225) and by_shorter.size_of(640, 480) == (400, 300)
    assert KeepRatioAugmentation(300, 1333, side="height").resize.size_of(640, 480) == (300, 225)
    with pytest.raises(ConfigError, match="side must be shorter or height, got 'width'"):
        KeepRatioResize(300, 1333, side="width")
