"""Changes of colors and sharpness beside torchvision's, image by image."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from alpl.data import color_augment
from alpl.data.color_augment import ColorJitter, GaussianBlur, RandomGrayscale, color_jitter, gaussian_blur
from alpl.errors import ConfigError

THEIRS: list[Callable[[Tensor, float], Tensor]] = [
    functional.adjust_brightness,
    functional.adjust_contrast,
    functional.adjust_saturation,
    functional.adjust_hue,
]


def images(number: int = 6, channels: int = 3, side: int = 9) -> Tensor:
    drawn = torch.rand(number, channels, side, side, generator=torch.Generator().manual_seed(0))
    drawn[0] = 0.5  # gray, of one value
    drawn[1] = drawn[1, :1]  # gray
    drawn[2, :, 0] = torch.tensor([1.0, 0.0, 0.0])[:channels, None]  # a pure color, and ties below
    drawn[2, :, 1] = torch.tensor([1.0, 1.0, 0.0])[:channels, None]
    return drawn


@pytest.mark.parametrize("number", range(4))
def test_each_change(number: int) -> None:
    names = ("brightness", "contrast", "saturation", "hue")
    factors = torch.tensor([-0.5, -0.1, 0.0, 0.1, 0.3, 0.5]) if number == 3 else torch.tensor([0, 0.6, 1, 1.4, 2, 0.9])
    ours = getattr(color_augment, names[number])(images(), factors)
    theirs = torch.stack([THEIRS[number](image, float(f)) for image, f in zip(images(), factors, strict=True)])
    assert torch.allclose(ours, theirs, atol=2e-6)


def test_all_in_the_order_of_each_image() -> None:
    draw = torch.Generator().manual_seed(1)
    factors = torch.rand(4, 6, generator=draw) * 0.8 + 0.6
    factors[3] = torch.rand(6, generator=draw) * 0.2 - 0.1
    order = torch.stack([torch.randperm(4, generator=draw) for _ in range(6)])
    chosen = torch.tensor([True, True, True, True, True, False])
    ours = color_jitter(images(), factors, order, chosen)
    for row, image in enumerate(images()):
        expected = image
        for number in order[row].tolist() if chosen[row] else []:
            expected = THEIRS[number](expected, float(factors[number, row]))
        assert torch.allclose(ours[row], expected, atol=5e-6), row


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_changes_of_all_images_are_those_of_its_own(channels: int, share: float) -> None:
    draw = torch.Generator().manual_seed(2)
    drawn = torch.rand(40, channels, 7, 7, generator=draw)
    given = drawn.clone()
    factors = torch.rand(4, 40, generator=draw) * 0.8 + torch.tensor([0.6, 0.6, 0.6, -0.4])[:, None]
    order = torch.stack([torch.randperm(4, generator=draw) for _ in range(40)])
    chosen = torch.rand(40, generator=draw) < share
    own = color_augment._of_its_own(drawn, factors, order, chosen)
    assert torch.allclose(own, color_augment._of_all(drawn, factors, order, chosen), atol=2e-6)
    assert torch.equal(drawn, given) and torch.equal(own[~chosen], drawn[~chosen])


def test_a_change_is_of_its_own_images_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: list[int] = []
    made = color_augment.hue
    monkeypatch.setattr(color_augment, "hue", lambda given, shift: numbers.append(len(given)) or made(given, shift))
    torch.manual_seed(0)
    ColorJitter(p=1.0)(torch.rand(50, 3, 5, 5))
    assert sum(numbers) == 50 and len(numbers) == 4


def test_images_of_one_channel_have_no_colors() -> None:
    gray, factors = images(channels=1), torch.full((4, 6), 0.4)
    order = torch.arange(4).expand(6, 4)
    expected = functional.adjust_contrast(functional.adjust_brightness(gray[3], 0.4), 0.4)
    ours = color_jitter(gray, factors, order, torch.ones(6, dtype=torch.bool))
    assert torch.allclose(ours[3], expected, atol=1e-6)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_blur(kernel_size: int) -> None:
    sigma = torch.linspace(0.1, 2.0, 6)
    ours = gaussian_blur(images(), sigma, kernel_size)
    for row, image in enumerate(images()):
        expected = functional.gaussian_blur(image, [kernel_size] * 2, [float(sigma[row])] * 2)
        assert torch.allclose(ours[row], expected, atol=1e-6), row


def test_gray() -> None:
    raw = (images() * 255).to(torch.uint8)
    changed = RandomGrayscale(1.0)(raw)
    expected = functional.rgb_to_grayscale(raw, 3)
    assert changed.dtype == torch.uint8 and (changed.int() - expected.int()).abs().max() <= 1
    assert torch.equal(RandomGrayscale(0.0)(raw), raw)


@pytest.mark.parametrize("transform", [ColorJitter(p=0.5), RandomGrayscale(0.5), GaussianBlur(3, p=0.5)])
def test_every_image_has_its_own_draw(transform: Callable[[Tensor], Tensor]) -> None:
    raw = (images()[3:4] * 255).to(torch.uint8).expand(64, 3, 9, 9)
    torch.manual_seed(0)
    changed = transform(raw)
    torch.manual_seed(0)
    assert torch.equal(transform(raw), changed) and changed.dtype == torch.uint8
    same = (changed == raw).flatten(1).all(1)
    assert 16 < int(same.sum()) < 48
    if not isinstance(transform, RandomGrayscale):
        assert len(changed.flatten(1).unique(dim=0)) > 16


def test_jitter_draws_all_factors_and_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def keep(raw: Tensor, factors: Tensor, order: Tensor, chosen: Tensor) -> Tensor:
        seen.append((factors, order))
        return raw

    monkeypatch.setattr(color_augment, "color_jitter", keep)
    torch.manual_seed(0)
    ColorJitter(0.4, 2.0, 0.0, 0.1)(torch.zeros(2000, 3, 1, 1, dtype=torch.uint8))
    ((factors, order),) = seen
    low, high = torch.tensor([0.6, 0.0, 1.0, -0.1]), torch.tensor([1.4, 3.0, 1.0, 0.1])
    assert torch.allclose(factors.amin(1), low, atol=0.02) and torch.allclose(factors.amax(1), high, atol=0.02)
    assert len(order.unique(dim=0)) == 24 and (order.sort(1).values == torch.arange(4)).all()


def test_refuses_what_cannot_be() -> None:
    for make, told in (
        (lambda: ColorJitter(brightness=-1), "brightness must be >= 0, got -1"),
        (lambda: ColorJitter(hue=0.6), r"hue must lie in \[0, 0.5\], got 0.6"),
        (lambda: RandomGrayscale(2), r"p must lie in \[0, 1\], got 2"),
        (lambda: GaussianBlur(4), "kernel_size must be an odd int >= 1, got 4"),
        (lambda: GaussianBlur(3, (2.0, 0.1)), "sigma must be two numbers 0 < low <= high"),
    ):
        with pytest.raises(ConfigError, match=told):
            make()
