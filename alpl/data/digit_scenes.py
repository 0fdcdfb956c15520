"""Digit scenes: handwritten digits to be found on cluttered canvases. Nothing to download, made from a seed.

Axes: H and W pixels of a canvas, h and w of a patch, n digits of a scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Generator, Tensor

from alpl.boxes.objects import (
    AbstractDetectionImages,
    AbstractDetectionSource,
    DetectionSplits,
    Objects,
    ObjectTable,
)
from alpl.data.digits import NUM_CLASSES, Digits
from alpl.data.drawing import blob, cut, integer, normal, paint, stroke, texture, uniform, warp
from alpl.data.sets import ImageSet
from alpl.errors import ConfigError
from alpl.machine.seeding import generator

LEAST_SIDE = 32  # pixels; below it digits of several sizes do not fit
RELATIVE_HEIGHTS = 0.14, 0.45  # of a digit in the canvas's shorter side; small ones are as frequent as large ones
MOST_COVERED = 0.35  # share of the smaller of two boxes that may overlap
NUM_TRIES = 20  # places to try for a digit before the scene does without it


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
        artist = Artist(digits, self.size, self.most_digits, imbalance)
        scenes = [artist.draw(generator(self.seed, "digit_scenes", split, place)) for place in range(number)]
        counts = torch.tensor([len(objects) for _, objects in scenes])
        boxes = torch.cat([objects.boxes for _, objects in scenes])
        labels = torch.cat([objects.labels for _, objects in scenes])
        objects = Objects(boxes, labels, torch.zeros(len(labels), dtype=torch.bool))
        return SceneImages(split, torch.stack([image for image, _ in scenes])), ObjectTable(objects, counts)


@final
class SceneImages(AbstractDetectionImages):
    """Scenes in memory: ``UInt8[N 3 H W]``."""

    def __init__(self, split: str, images: Tensor) -> None:
        self.names = tuple(f"{split}_{place:05d}" for place in range(len(images)))
        self.sizes = torch.tensor(images.shape[2:]).expand(len(images), 2).clone()
        self._images = images

    def __getitem__(self, index: int) -> Tensor:
        return self._images[index].clone()


class Ink(NamedTuple):
    """A drawn digit: its opacity ``Float[h w]``, cut to what is visible."""

    opacity: Tensor
    label: int


@final
class Artist:
    """Draws scenes with the digits of one split."""

    def __init__(self, digits: ImageSet, size: tuple[int, int], most_digits: int, imbalance: float) -> None:
        self.opacities = digits.images[:, 0].float() / 255  # [N 8 8]
        self.of_class = [(digits.targets == label).nonzero().flatten() for label in range(NUM_CLASSES)]
        self.frequency = imbalance ** -torch.linspace(0, 1, NUM_CLASSES)
        self.size = size
        self.most_digits = most_digits

    def draw(self, random: Generator) -> tuple[Tensor, Objects]:
        """Give ``UInt8[3 H W]`` and the objects, the first drawn first; later ones lie on top."""
        canvas = texture(self.size, random)
        for _ in range(integer(random, 1, 4)):
            stroke(canvas, random)
        for _ in range(integer(random, 0, 3)):
            blob(canvas, random)
        for _ in range(integer(random, 2, 5)):
            self.fragment(canvas, random)
        boxes: list[tuple[int, int, int, int]] = []
        labels: list[int] = []
        for _ in range(integer(random, 1, self.most_digits)):
            ink = self.ink(random)
            box = self._place(ink.opacity, boxes, random)
            if box is not None:
                paint(canvas, ink.opacity, box, random)
                boxes.append(box)
                labels.append(ink.label)
        canvas += normal(random, *canvas.shape) * uniform(random, 0.0, 0.04)
        image = canvas.clamp(0, 1).mul(255).round().to(torch.uint8)
        number = len(boxes)
        found = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
        return image, Objects(found, torch.tensor(labels, dtype=torch.long), torch.zeros(number, dtype=torch.bool))

    def ink(self, random: Generator) -> Ink:
        """Draw a digit of a random class, height, tilt and shape."""
        label = int(torch.multinomial(self.frequency, 1, generator=random))
        members = self.of_class[label]
        digit = self.opacities[members[integer(random, 0, len(members) - 1)]]
        low, high = (relative * min(self.size) for relative in RELATIVE_HEIGHTS)
        height = low * (high / low) ** uniform(random, 0, 1)
        return Ink(cut(warp(digit, height, random)), label)

    def fragment(self, canvas: Tensor, random: Generator) -> None:
        """Paint a quarter to half of a digit, as clutter."""
        digit = self.opacities[integer(random, 0, len(self.opacities) - 1)]
        top, left = integer(random, 0, 4), integer(random, 0, 4)
        height = uniform(random, 0.1, 0.25) * min(self.size)
        opacity = warp(digit[top : top + 4, left : left + 4], height, random)
        box = self._place(opacity, [], random)
        if box is not None:
            paint(canvas, opacity, box, random)

    def _place(
        self, opacity: Tensor, taken: list[tuple[int, int, int, int]], random: Generator
    ) -> tuple[int, int, int, int] | None:
        """Find a place that covers no other digit too much: x1, y1, x2, y2."""
        height, width = opacity.shape
        for _ in range(NUM_TRIES):
            if height > self.size[0] or width > self.size[1]:
                return None
            top, left = integer(random, 0, self.size[0] - height), integer(random, 0, self.size[1] - width)
            box = (left, top, left + width, top + height)
            if all(_covered(box, other) <= MOST_COVERED for other in taken):
                return box
        return None


def _covered(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Share of the smaller box that lies in the other."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return max(0, width) * max(0, height) / smaller
