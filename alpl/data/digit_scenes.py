"""Digit scenes: handwritten digits to be found on cluttered canvases. Nothing to download, made from a seed.

Axes: H and W pixels of a canvas, h and w of a patch, n digits of a scene.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from alpl.boxes.objects import (
    AbstractDetectionImages,
    AbstractDetectionSource,
    DetectionSplits,
    Objects,
    ObjectTable,
)
from alpl.data.digits import NUM_CLASSES, Digits
from alpl.data.sets import ImageSet
from alpl.errors import ConfigError
from alpl.machine.seeding import generator

LEAST_SIDE = 32  # pixels; below it digits of several sizes do not fit
RELATIVE_HEIGHTS = 0.14, 0.45  # of a digit in the canvas's shorter side; small ones are as frequent as large ones
TILT, SHEAR, STRETCH = 0.3, 0.3, 0.2  # radians; share of the height; log of the aspect ratio: each at most
VISIBLE = 0.25  # opacity from which ink belongs to the box
MOST_COVERED = 0.35  # share of the smaller of two boxes that may overlap
NUM_TRIES = 20  # places to try for a digit before the scene does without it
CONTRASTS = 0.18, 0.7  # of a digit against what is below it
NOISE_CELLS = 2, 8, 28  # pixels of the textures' grains


@final
class DigitScenes(AbstractDetectionSource):
    """RGB scenes with 1 to 5 handwritten digits (scikit-learn's) of several sizes, tilts, colors and contrasts.

    The canvases have gradients and noise of several scales, strokes, blobs and fragments of digits, which are not
    annotated. Digits may touch and overlap a little. Training and test scenes show different handwritten digits: those
    of the train and test split of :class:`alpl.data.digits.Digits`. Scene i is the same however many are made.

    Args:
        num_train: training scenes.
        num_test: test scenes.
        size: side of the square canvas in pixels, or (H, W).
        seed: of the scenes. It is not the run's: all runs see the same scenes.
        most_digits: per scene; their number is uniform from 1.
        imbalance: how many times as frequent digit 0 is as digit 9 in training scenes, geometric between them. Test
            scenes are balanced.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        num_train: int = 400,
        num_test: int = 200,
        size: int | Sequence[int] = 96,
        seed: int = 0,
        *,
        most_digits: int = 5,
        imbalance: float = 1.0,
    ) -> None:
        for name, value in (("num_train", num_train), ("num_test", num_test), ("most_digits", most_digits)):
            if value < 1:
                raise ConfigError(f"{name} must be >= 1, got {value}")
        height_width = (size, size) if isinstance(size, int) else tuple(size)
        if len(height_width) != 2 or min(height_width) < LEAST_SIDE:
            raise ConfigError(f"size must be a side or (H, W) of at least {LEAST_SIDE} pixels, got {size}")
        if imbalance < 1:
            raise ConfigError(f"imbalance must be >= 1, got {imbalance}")
        self.num_train = num_train
        self.num_test = num_test
        self.size = int(height_width[0]), int(height_width[1])
        self.seed = seed
        self.most_digits = most_digits
        self.imbalance = imbalance

    def load(self) -> DetectionSplits:
        """Make the scenes (a few milliseconds each); they stay in memory as uint8."""
        digits = Digits().load()
        train = self._make("train", digits.train, self.num_train, self.imbalance)
        test = self._make("test", digits.test, self.num_test, 1.0)
        return DetectionSplits(*train, *test, digits.classes)

    def _make(
        self, split: str, digits: ImageSet, number: int, imbalance: float
    ) -> tuple[AbstractDetectionImages, Sequence[Objects]]:
        artist = _Artist(digits, self.size, self.most_digits, imbalance)
        scenes = [artist.draw(generator(self.seed, "digit_scenes", split, place)) for place in range(number)]
        counts = torch.tensor([len(objects) for _, objects in scenes])
        boxes = torch.cat([objects.boxes for _, objects in scenes])
        labels = torch.cat([objects.labels for _, objects in scenes])
        objects = Objects(boxes, labels, torch.zeros(len(labels), dtype=torch.bool))
        return _Scenes(split, torch.stack([image for image, _ in scenes])), ObjectTable(objects, counts)


@final
class _Scenes(AbstractDetectionImages):
    """Scenes in memory: ``UInt8[N 3 H W]``."""

    def __init__(self, split: str, images: Tensor) -> None:
        self.names = tuple(f"{split}_{place:05d}" for place in range(len(images)))
        self.sizes = torch.tensor(images.shape[2:]).expand(len(images), 2).clone()
        self._images = images

    def __getitem__(self, index: int) -> Tensor:
        return self._images[index].clone()


class _Ink(NamedTuple):
    """A drawn digit: its opacity ``Float[h w]``, cut to what is visible."""

    opacity: Tensor
    label: int


@final
class _Artist:
    """Draws scenes with the digits of one split."""

    def __init__(self, digits: ImageSet, size: tuple[int, int], most_digits: int, imbalance: float) -> None:
        self.opacities = digits.images[:, 0].float() / 255  # [N 8 8]
        self.of_class = [(digits.targets == label).nonzero().flatten() for label in range(NUM_CLASSES)]
        self.frequency = imbalance ** -torch.linspace(0, 1, NUM_CLASSES)
        self.size = size
        self.most_digits = most_digits

    def draw(self, random: Generator) -> tuple[Tensor, Objects]:
        """Give ``UInt8[3 H W]`` and the objects, the first drawn first; later ones lie on top."""
        canvas = _texture(self.size, random)
        for _ in range(_integer(random, 1, 4)):
            _stroke(canvas, random)
        for _ in range(_integer(random, 0, 3)):
            _blob(canvas, random)
        for _ in range(_integer(random, 2, 5)):
            self._fragment(canvas, random)
        boxes: list[tuple[int, int, int, int]] = []
        labels: list[int] = []
        for _ in range(_integer(random, 1, self.most_digits)):
            ink = self._ink(random)
            box = self._place(ink.opacity, boxes, random)
            if box is not None:
                _paint(canvas, ink.opacity, box, random)
                boxes.append(box)
                labels.append(ink.label)
        canvas += _normal(random, *canvas.shape) * _uniform(random, 0.0, 0.04)
        image = canvas.clamp(0, 1).mul(255).round().to(torch.uint8)
        number = len(boxes)
        found = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
        return image, Objects(found, torch.tensor(labels, dtype=torch.long), torch.zeros(number, dtype=torch.bool))

    def _ink(self, random: Generator) -> _Ink:
        label = int(torch.multinomial(self.frequency, 1, generator=random))
        members = self.of_class[label]
        digit = self.opacities[members[_integer(random, 0, len(members) - 1)]]
        low, high = (relative * min(self.size) for relative in RELATIVE_HEIGHTS)
        height = low * (high / low) ** _uniform(random, 0, 1)
        return _Ink(_cut(_warp(digit, height, random)), label)

    def _fragment(self, canvas: Tensor, random: Generator) -> None:
        """Paint a quarter to half of a digit, as clutter."""
        digit = self.opacities[_integer(random, 0, len(self.opacities) - 1)]
        top, left = _integer(random, 0, 4), _integer(random, 0, 4)
        height = _uniform(random, 0.1, 0.25) * min(self.size)
        opacity = _warp(digit[top : top + 4, left : left + 4], height, random)
        box = self._place(opacity, [], random)
        if box is not None:
            _paint(canvas, opacity, box, random)

    def _place(
        self, opacity: Tensor, taken: list[tuple[int, int, int, int]], random: Generator
    ) -> tuple[int, int, int, int] | None:
        """Find a place that covers no other digit too much: x1, y1, x2, y2."""
        height, width = opacity.shape
        for _ in range(NUM_TRIES):
            if height > self.size[0] or width > self.size[1]:
                return None
            top, left = _integer(random, 0, self.size[0] - height), _integer(random, 0, self.size[1] - width)
            box = (left, top, left + width, top + height)
            if all(_covered(box, other) <= MOST_COVERED for other in taken):
                return box
        return None


def _texture(size: tuple[int, int], random: Generator) -> Tensor:
    """``Float[3 H W]``: a color, a gradient, and noise of several scales."""
    height, width = size
    angle = _uniform(random, 0, 2 * math.pi)
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    ramp = math.cos(angle) * x + math.sin(angle) * y
    base = torch.rand(3, generator=random) * 0.7 + 0.15
    canvas = base.view(3, 1, 1) + ramp * (torch.rand(3, 1, 1, generator=random) - 0.5) * 0.5
    for cell in NOISE_CELLS:
        grid = _normal(random, 1, 3, height // cell + 2, width // cell + 2)
        gray = _uniform(random, 0, 1)  # how far the three channels agree
        grid = gray * grid.mean(1, keepdim=True) * math.sqrt(3) + (1 - gray) * grid
        noise = F.interpolate(grid, size=size, mode="bicubic", align_corners=False)[0]
        canvas = canvas + noise * _uniform(random, 0.01, 0.1)
    return canvas.clamp(0, 1)


def _stroke(canvas: Tensor, random: Generator) -> None:
    """Draw a bent line of one color."""
    _, height, width = canvas.shape
    ends = torch.rand(3, 2, generator=random)  # start, control and end of a quadratic Bezier curve
    t = torch.linspace(0, 1, 64).view(-1, 1)
    curve = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * ends[1] + t**2 * ends[2]
    curve = ends[0] + (curve - ends[0]) * _uniform(random, 0.2, 1)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    points = torch.stack([y, x], -1).view(-1, 2).float()
    distance = torch.cdist(points, curve * torch.tensor([height, width])).min(1).values.view(height, width)
    thickness = _uniform(random, 0.008, 0.025) * min(height, width)
    _mix(canvas, (thickness + 1 - distance).clamp(0, 1) * _uniform(random, 0.4, 1), torch.rand(3, generator=random))


def _blob(canvas: Tensor, random: Generator) -> None:
    """Draw a soft ellipse of one color."""
    _, height, width = canvas.shape
    radii = [_uniform(random, 0.04, 0.2) * min(height, width) for _ in range(2)]
    y = (torch.arange(height) - _uniform(random, 0, height)) / radii[0]
    x = (torch.arange(width) - _uniform(random, 0, width)) / radii[1]
    opacity = torch.sigmoid(8 * (1 - (y.view(-1, 1) ** 2 + x**2).sqrt()))
    _mix(canvas, opacity * _uniform(random, 0.3, 0.9), torch.rand(3, generator=random))


def _warp(patch: Tensor, height: float, random: Generator) -> Tensor:
    """Enlarge ``Float[a b]`` to about ``height`` pixels, tilted, sheared and stretched; with room around."""
    side = math.ceil(1.8 * height)
    tilt, shear = _uniform(random, -TILT, TILT), _uniform(random, -SHEAR, SHEAR)
    stretch = math.exp(_uniform(random, -STRETCH, STRETCH))
    cos, sin = math.cos(tilt) * 1.8, math.sin(tilt) * 1.8
    turn = torch.tensor([[cos / stretch, sin / stretch], [-sin, cos]]) @ torch.tensor([[1.0, shear], [0.0, 1.0]])
    grid = F.affine_grid(torch.cat([turn, torch.zeros(2, 1)], 1)[None], [1, 1, side, side], align_corners=False)
    padded = F.pad(patch, (1, 1, 1, 1))[None, None]  # so that ink at the border fades out
    grid = grid * torch.tensor([patch.shape[1], patch.shape[0]]) / (torch.tensor(padded.shape[:1:-1]))
    sharp = F.grid_sample(padded, grid, mode="bicubic", padding_mode="zeros", align_corners=False)[0, 0]
    return ((sharp - 0.15) * 1.6).clamp(0, 1)


def _cut(opacity: Tensor) -> Tensor:
    """Cut off all that is not visible around the ink, so that a box is tight."""
    rows = (opacity >= VISIBLE).any(1).nonzero().flatten().tolist()
    columns = (opacity >= VISIBLE).any(0).nonzero().flatten().tolist()
    return opacity[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _paint(canvas: Tensor, opacity: Tensor, box: tuple[int, int, int, int], random: Generator) -> None:
    """Paint ink on the canvas, in a color that stands out from what is below it."""
    below = canvas[:, box[1] : box[3], box[0] : box[2]]
    mean = below.mean((1, 2))
    lighter = bool(mean.mean() < _uniform(random, 0.3, 0.7))
    contrast = _uniform(random, *CONTRASTS)
    tint = (torch.rand(3, generator=random) - 0.5) * 0.3
    color = (mean + tint + (contrast if lighter else -contrast)).clamp(0, 1)
    _mix(below, opacity * _uniform(random, 0.8, 1), color)


def _mix(canvas: Tensor, opacity: Tensor, color: Tensor) -> None:
    """Lay a color over ``Float[3 h w]``, in place."""
    canvas += opacity * (color.view(3, 1, 1) - canvas)


def _covered(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Share of the smaller box that lies in the other."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return max(0, width) * max(0, height) / smaller


def _uniform(random: Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=random))


def _integer(random: Generator, low: int, high: int) -> int:
    """One of low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=random))


def _normal(random: Generator, *shape: Any) -> Tensor:
    return torch.randn(*shape, generator=random)
