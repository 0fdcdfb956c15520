import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision import transforms
from torchvision.transforms import functional as reference

from alpl.data.augment import (
    Compose,
    HorizontalFlip,
    Normalize,
    PadCrop,
    RandomResizedCrop,
    channel_statistics,
    crop_boxes,
    horizontal_flip,
    pad_crop,
    resized_crop,
)
from alpl.errors import ConfigError

WITHOUT_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, WITHOUT_CUDA])]
TRANSFORMS = [
    PadCrop(4),
    HorizontalFlip(),
    RandomResizedCrop(12),
    Normalize((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)),
]


def _images(num_images=17, channels=3, height=20, width=24, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num_images, channels, height, width), dtype=torch.uint8, generator=random)


def _places(num_images, side=7):
    """Every pixel's value is its own place, so that a crop or flip can be read off the result."""
    return torch.arange(1, side * side + 1, dtype=torch.uint8).view(1, 1, side, side).repeat(num_images, 1, 1, 1)


def _chi_square_is_ordinary(counts):
    """Uniform counts stay below mean + 6 standard deviations of the chi-square distribution."""
    counts = counts.double()
    freedom = counts.numel() - 1
    chi_square = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    return chi_square < freedom + 6 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("padding", [0, 1, 4])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_pad_crop_equals_a_crop_of_each_image(device, dtype, padding, memory_format):
    images = _images().to(device, dtype).contiguous(memory_format=memory_format)
    top, left = torch.randint(2 * padding + 1, (2, len(images)), device=device)
    found = pad_crop(images, top, left, padding)
    for image, y, x, result in zip(images, top.tolist(), left.tolist(), found, strict=True):
        assert torch.equal(result, reference.crop(reference.pad(image, padding), y, x, 20, 24))
    assert found.dtype == dtype and found.shape == images.shape


def test_pad_crop_draws_every_offset_equally_often():
    torch.manual_seed(0)
    images = _places(40_000)
    found = PadCrop(2)(images)
    center = found[:, 0, 3, 3].long() - 1  # the pixel that came to the middle
    counts = torch.bincount((center // 7 - 1) * 5 + center % 7 - 1, minlength=25)
    assert len(counts) == 25 and counts.min() > 0 and _chi_square_is_ordinary(counts)


@pytest.mark.parametrize("device", DEVICES)
def test_flip_equals_a_flip_of_each_image(device):
    images = _images().to(device)
    flipped = torch.rand(len(images), device=device) < 0.5
    assert 0 < int(flipped.sum()) < len(images)
    for image, mirror, result in zip(images, flipped, horizontal_flip(images, flipped), strict=True):
        assert torch.equal(result, reference.hflip(image) if mirror else image)


@pytest.mark.parametrize(("p", "low", "high"), [(0.0, 0, 0), (1.0, 1, 1), (0.5, 0.485, 0.515), (0.2, 0.188, 0.212)])
def test_flip_draws_with_its_probability(p, low, high):
    torch.manual_seed(0)
    images = _places(40_000)
    flipped = HorizontalFlip(p)(images)[:, 0, 0, 0] != images[:, 0, 0, 0]
    assert low <= flipped.double().mean() <= high


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [5, 16, 33])
def test_resized_crop_equals_interpolate_of_each_image(device, size):
    images = _images().to(device, torch.float64)
    boxes = _boxes(len(images), 20, 24).to(device)
    found = resized_crop(images, boxes, size)
    for image, (top, left, height, width), result in zip(images, boxes.tolist(), found, strict=True):
        crop = image[None, :, top : top + height, left : left + width]
        expected = F.interpolate(crop, (size, size), mode="bilinear", antialias=True)[0]
        # atol: our weights are float32 whatever the type of the images
        torch.testing.assert_close(result, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", [5, 16, 33])
def test_resized_crop_of_bytes_is_what_torchvision_gives(size):
    images = _images()
    boxes = _boxes(len(images), 20, 24)
    found = resized_crop(images, boxes, size)
    assert found.dtype == torch.uint8
    for image, (top, left, height, width), result in zip(images, boxes.tolist(), found, strict=True):
        expected = reference.resized_crop(image, top, left, height, width, [size, size], antialias=True)
        assert (result.int() - expected.int()).abs().max() <= 1  # torchvision computes with integer weights


def test_resized_crop_of_the_whole_image_changes_nothing():
    images = _images(height=16, width=16)
    boxes = torch.tensor([[0, 0, 16, 16]]).repeat(len(images), 1)
    assert torch.equal(resized_crop(images, boxes, 16), images)


@pytest.mark.parametrize(("height", "width"), [(20, 24), (32, 32), (9, 40)])
def test_crop_boxes_equal_the_first_try_that_fits(height, width):
    torch.manual_seed(0)
    ratio = (0.5, 2.0)
    area = torch.empty(10, 500).uniform_(0.3, 1)
    aspect = torch.empty(10, 500).uniform_(math.log(ratio[0]), math.log(ratio[1])).exp_()
    position = torch.rand(2, 500)
    found = crop_boxes(area, aspect, position, (height, width), ratio)
    for i in range(500):
        expected = _first_that_fits(area[:, i].tolist(), aspect[:, i].tolist(), position[:, i].tolist(), height, width)
        assert found[i].tolist() == (expected or _torchvision_fallback(height, width, ratio))


@pytest.mark.parametrize(("height", "width"), [(20, 24), (4, 40), (40, 4), (7, 9)])
def test_crop_boxes_fall_back_as_torchvision_does(height, width):
    ratio = (0.7, 1.2)
    never = torch.full((10, 3), 9.0)
    found = crop_boxes(never, torch.ones(10, 3), torch.rand(2, 3), (height, width), ratio)
    assert found.tolist() == [_torchvision_fallback(height, width, ratio)] * 3


@pytest.mark.parametrize("side", [*range(1, 40), 224, 500, 1024])
def test_the_largest_draw_stays_inside(side):
    largest = torch.full((2, 1), 1 - 2**-24)
    one_pixel = torch.full((10, 1), 1 / side**2)
    boxes = crop_boxes(one_pixel, torch.ones(10, 1), largest, (side, side), (1.0, 1.0))
    assert boxes.tolist() == [[side - 1, side - 1, 1, 1]]


def test_a_try_without_pixels_does_not_fit():
    area = torch.tensor([[0.2 / 64], [1 / 64], [1.0]])  # 0 x 0, 1 x 1, 8 x 8 pixels
    boxes = crop_boxes(area, torch.ones(3, 1), torch.zeros(2, 1), (8, 8), (1.0, 1.0))
    assert boxes.tolist() == [[0, 0, 1, 1]]


def test_random_resized_crop_has_torchvisions_distribution(monkeypatch):
    torch.manual_seed(0)
    scale, ratio = (0.2, 1.0), (0.6, 1.8)
    drawn = []
    monkeypatch.setattr("alpl.data.augment.resized_crop", lambda images, boxes, size: drawn.append(boxes))
    image = torch.zeros(1, 20, 30)
    RandomResizedCrop(8, scale, ratio)(image.expand(6000, 1, 20, 30))
    theirs = torch.tensor(
        [transforms.RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(6000)]
    )
    for ours, reference_values in zip(drawn[0].T, theirs.T, strict=True):
        bins = int(torch.stack([ours, reference_values]).max()) + 1
        difference = (ours.bincount(minlength=bins) - reference_values.bincount(minlength=bins)).cumsum(0).abs().max()
        # two-sample Kolmogorov-Smirnov at about 1e-6: 2.7 sqrt(2 / n)
        assert difference / 6000 < 2.7 * math.sqrt(2 / 6000)


@pytest.mark.parametrize("device", DEVICES)
def test_normalize_equals_to_tensor_and_normalize(device):
    images, mean, std = _images(), (0.49, 0.48, 0.44), (0.247, 0.243, 0.261)
    found = Normalize(mean, std)(images.to(device)).cpu()
    theirs = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    expected = torch.stack([theirs(image.permute(1, 2, 0).numpy()) for image in images])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    assert found.dtype == torch.float32


def test_normalize_keeps_channels_last():
    images = _images().contiguous(memory_format=torch.channels_last)
    found = TRANSFORMS[3](images)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, TRANSFORMS[3](images.contiguous()))


@pytest.mark.parametrize("images", [_images().float(), _images(channels=1), _images()[0]])
def test_normalize_refuses_other_images(images):
    with pytest.raises(ValueError, match=r"images must be UInt8\[B 3 H W\], got torch"):
        TRANSFORMS[3](images)


@pytest.mark.parametrize("device", DEVICES)
def test_the_same_seed_gives_the_same_batch(device):
    images, transform = _images(64).to(device), Compose(*TRANSFORMS)
    batches = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        batches.append(transform(images))
    assert torch.equal(batches[0], batches[1]) and not torch.equal(batches[0], batches[2])
    assert batches[0].shape == (64, 3, 12, 12) and batches[0].device == images.device


def test_compose_applies_in_order():
    assert Compose(lambda x: x + 1, lambda x: x * 10)(torch.tensor(1)) == 20
    assert Compose()(3) == 3


@pytest.mark.parametrize("transform", TRANSFORMS[:3], ids=lambda t: type(t).__name__)
def test_every_image_has_its_own_draw_and_the_batch_is_left_alone(transform):
    torch.manual_seed(0)
    image = _images(1)
    images = image.repeat(40, 1, 1, 1)
    found = transform(images)
    assert len({result.numpy().tobytes() for result in found}) > 1
    assert torch.equal(images, image.repeat(40, 1, 1, 1)) and found.dtype == torch.uint8


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda t: type(t).__name__)
def test_an_empty_batch_stays_empty(transform):
    assert len(transform(_images()[:0])) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PadCrop(-1), "padding must be >= 0, got -1"),
        (lambda: HorizontalFlip(1.5), r"p must lie in \[0, 1\], got 1.5"),
        (lambda: RandomResizedCrop(0), "size must be >= 1, got 0"),
        (lambda: RandomResizedCrop(8, scale=(0.5, 0.1)), "scale must be two numbers 0 < low <= high, got"),
        (lambda: RandomResizedCrop(8, ratio=(0.0, 1.0)), "ratio must be two numbers 0 < low <= high, got"),
        (lambda: Normalize((0.5,), (0.2, 0.2)), "mean and std must have one value a channel, got"),
        (lambda: Normalize((0.5,), (0.0,)), r"std must be > 0, got \[0.0\]"),
    ],
)
def test_settings_that_cannot_work_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize("num_images", [1, 37])
def test_channel_statistics_equal_numpys(num_images, monkeypatch):
    monkeypatch.setattr("alpl.data.augment.CHUNK", 10)
    images = _images(num_images)
    images[:, 1] //= 3
    mean, std = channel_statistics(images)
    values = images.numpy().astype(np.float64) / 255
    np.testing.assert_allclose(mean.numpy(), values.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std.numpy(), values.std((0, 2, 3)), rtol=1e-12)


@pytest.mark.parametrize("images", [_images().float(), _images()[0], _images()[:0]])
def test_channel_statistics_refuse_other_images(images):
    with pytest.raises(ValueError, match=r"images must be UInt8\[N C H W\], N >= 1, got"):
        channel_statistics(images)


def _boxes(num_images, height, width):
    random = torch.Generator().manual_seed(1)
    heights = torch.randint(1, height + 1, (num_images,), generator=random)
    widths = torch.randint(1, width + 1, (num_images,), generator=random)
    top = (torch.rand(num_images, generator=random) * (height - heights + 1)).long()
    left = (torch.rand(num_images, generator=random) * (width - widths + 1)).long()
    return torch.stack([top, left, heights, widths], 1)


def _first_that_fits(areas, aspects, position, height, width):
    for area, aspect in zip(areas, aspects, strict=True):
        w, h = (
            round(math.sqrt(area * height * width * aspect)),
            round(math.sqrt(area * height * width / aspect)),
        )
        if 0 < w <= width and 0 < h <= height:
            return [int(position[0] * (height - h + 1)), int(position[1] * (width - w + 1)), h, w]
    return None


def _torchvision_fallback(height, width, ratio):
    """No try fits at nine times the area, so torchvision's own function takes its last resort."""
    return list(transforms.RandomResizedCrop.get_params(torch.zeros(1, height, width), [9.0, 9.0], list(ratio)))
