"""Digit videos: handwritten digits that wander through cluttered canvases. Nothing to download, made from a seed.

Axes: H and W pixels of a canvas, h and w of a patch, L frames of a video, n digits of a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor

from alpl.boxes.footage import Footage
from alpl.boxes.objects import AbstractDetectionSource, DetectionSplits, Objects, ObjectTable
from alpl.data.digit_scenes import LEAST_SIDE, Artist, SceneImages
from alpl.data.digits import Digits
from alpl.data.drawing import CONTRASTS, blob, integer, mix, normal, stroke, texture, uniform
from alpl.data.sets import ImageSet
from alpl.errors import ConfigError
from alpl.machine.seeding import generator

SPEED = 4.0  # pixels a frame that a digit moves at most, in each direction
FAINT = 0.3  # of a flickering digit's opacity is left
LEAST_INSIDE = 0.4  # share of a digit's box that lies on the canvas, or it is not annotated
MOST_BEHIND = 0.6  # share of it that one in front may cover
HIDDEN = 2, 4  # frames that a digit stays away


@final
class DigitVideos(AbstractDetectionSource):
    """Videos of handwritten digits (scikit-learn's) that move by a constant velocity.

    They appear, come in or leave; now and then one flickers, that is, it is faint in one frame and still annotated (a
    detector may miss it), or hides for a few, and is then neither drawn nor annotated. Clutter and digits are as in
    :class:`alpl.data.digit_scenes.DigitScenes`, training and test videos show different handwritten digits. Video v is
    the same however many are made.

    Args:
        num_videos: training videos.
        num_test_videos: test videos.
        length: fewest and most frames of a video.
        size: side of the square canvas in pixels, or (H, W).
        seed: of the videos. It is not the run's: all runs see the same.
        most_digits: of a video; their number is uniform from 2.
        flicker: probability that a digit flickers in a frame.
        hide: probability that it begins to hide in a frame.
        spacing: see :class:`alpl.boxes.footage.Footage`.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        num_videos: int = 24,
        num_test_videos: int = 8,
        length: Sequence[int] = (12, 36),
        size: int | Sequence[int] = 96,
        seed: int = 0,
        *,
        most_digits: int = 5,
        flicker: float = 0.1,
        hide: float = 0.05,
        spacing: int = 1,
    ) -> None:
        least = (
            ("num_videos", num_videos, 1),
            ("num_test_videos", num_test_videos, 1),
            ("most_digits", most_digits, 2),
        )
        for name, value, lowest in least:
            if value < lowest:
                raise ConfigError(f"{name} must be >= {lowest}, got {value}")
        if len(length) != 2 or not 1 <= length[0] <= length[1]:
            raise ConfigError(f"length must be the fewest and the most frames, at least 1, got {list(length)}")
        height_width = (size, size) if isinstance(size, int) else tuple(size)
        if len(height_width) != 2 or min(height_width) < LEAST_SIDE:
            raise ConfigError(f"size must be a side or (H, W) of at least {LEAST_SIDE} pixels, got {size}")
        for name, share in (("flicker", flicker), ("hide", hide)):
            if not 0 <= share <= 1:
                raise ConfigError(f"{name} must be in [0, 1], got {share}")
        if spacing < 0:
            raise ConfigError(f"spacing must be >= 0, got {spacing}")
        self.num_videos, self.num_test_videos = num_videos, num_test_videos
        self.length = int(length[0]), int(length[1])
        self.size = int(height_width[0]), int(height_width[1])
        self.seed, self.most_digits, self.flicker, self.hide, self.spacing = seed, most_digits, flicker, hide, spacing

    def load(self) -> DetectionSplits:
        """Make the videos (a few milliseconds a frame); they stay in memory as uint8."""
        digits = Digits().load()
        train, objects, footage = self._make("train", digits.train, self.num_videos)
        test, test_objects, _ = self._make("test", digits.test, self.num_test_videos)
        return DetectionSplits(train, objects, test, test_objects, digits.classes, footage=footage)

    def _make(self, split: str, digits: ImageSet, number: int) -> tuple[SceneImages, ObjectTable, Footage]:
        artist = Artist(digits, self.size, self.most_digits, imbalance=1.0)
        films = [self._film(artist, generator(self.seed, "digit_videos", split, video)) for video in range(number)]
        frames = [frame for film in films for frame in film]
        counts = torch.tensor([len(objects) for _, objects in frames])
        boxes = torch.cat([objects.boxes for _, objects in frames])
        labels = torch.cat([objects.labels for _, objects in frames])
        table = ObjectTable(Objects(boxes, labels, torch.zeros(len(labels), dtype=torch.bool)), counts)
        lengths = torch.tensor([len(film) for film in films])
        video = torch.arange(number).repeat_interleave(lengths)
        frame = torch.cat([torch.arange(len(film)) for film in films])
        names = tuple(f"video_{place:04d}" for place in range(number))
        footage = Footage(video, frame, names, self.spacing)
        images = torch.stack([image for image, _ in frames])
        return SceneImages(split, images), table, footage

    def _film(self, artist: Artist, random: Generator) -> list[tuple[Tensor, Objects]]:
        """``L`` times ``UInt8[3 H W]`` and the objects."""
        canvas = texture(self.size, random)
        for _ in range(integer(random, 1, 4)):
            stroke(canvas, random)
        for _ in range(integer(random, 0, 3)):
            blob(canvas, random)
        for _ in range(integer(random, 2, 5)):
            artist.fragment(canvas, random)
        length = integer(random, *self.length)
        actors = [self._actor(artist, canvas, length, random) for _ in range(integer(random, 2, self.most_digits))]
        return [_frame(canvas, actors, time, random) for time in range(length)]

    def _actor(self, artist: Artist, canvas: Tensor, length: int, random: Generator) -> _Actor:
        ink = artist.ink(random)
        height, width = ink.opacity.shape
        start = (uniform(random, 0, self.size[0] - height), uniform(random, 0, self.size[1] - width))
        speed = (uniform(random, -SPEED, SPEED), uniform(random, -SPEED, SPEED))
        first = max(0, integer(random, -length // 2, length // 2))  # half of them are there from the beginning
        opacity = torch.full((length,), uniform(random, 0.8, 1))
        opacity[torch.rand(length, generator=random) < self.flicker] *= FAINT
        for time in (torch.rand(length, generator=random) < self.hide).nonzero().flatten().tolist():
            opacity[time : time + integer(random, *HIDDEN)] = 0
        opacity[:first] = 0
        mean = canvas.mean((1, 2))
        contrast = uniform(random, *CONTRASTS) * (1 if float(mean.mean()) < uniform(random, 0.3, 0.7) else -1)
        color = (mean + (torch.rand(3, generator=random) - 0.5) * 0.3 + contrast).clamp(0, 1)
        return _Actor(ink.opacity, ink.label, color, start, speed, first, opacity)


@final
@dataclass(frozen=True)
class _Actor:
    """A digit that moves.

    Args:
        ink: ``Float[h w]`` opacity.
        label: its class.
        color: ``Float[3]``.
        start: top and left in its first frame.
        speed: pixels a frame, down and to the right.
        first: its first frame.
        opacity: ``Float[L]`` in each frame; 0 where it is not there.
    """

    ink: Tensor
    label: int
    color: Tensor
    start: tuple[float, float]
    speed: tuple[float, float]
    first: int
    opacity: Tensor

    def box(self, time: int) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2 in a frame, whole pixels, beyond the canvas too."""
        top, left = (
            round(begin + speed * (time - self.first)) for begin, speed in zip(self.start, self.speed, strict=True)
        )
        return left, top, left + self.ink.shape[1], top + self.ink.shape[0]


def _frame(background: Tensor, actors: Sequence[_Actor], time: int, random: Generator) -> tuple[Tensor, Objects]:
    """Paint a frame; later actors lie in front."""
    canvas = background.clone()
    height, width = canvas.shape[1:]
    shown: list[tuple[tuple[int, int, int, int], int]] = []
    for actor in actors:
        strength = float(actor.opacity[time])
        x1, y1, x2, y2 = actor.box(time)
        box = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
        if not strength or box[2] <= box[0] or box[3] <= box[1]:
            continue
        ink = actor.ink[box[1] - y1 : box[3] - y1, box[0] - x1 : box[2] - x1]
        mix(canvas[:, box[1] : box[3], box[0] : box[2]], ink * strength, actor.color)
        shown = [(other, label) for other, label in shown if _covered_by(box, other) <= MOST_BEHIND]
        if (box[2] - box[0]) * (box[3] - box[1]) >= LEAST_INSIDE * (x2 - x1) * (y2 - y1):
            shown.append((box, actor.label))
    canvas += normal(random, *canvas.shape) * 0.02
    boxes = torch.tensor([box for box, _ in shown], dtype=torch.float32).view(-1, 4)
    labels = torch.tensor([label for _, label in shown], dtype=torch.long)
    image = canvas.clamp(0, 1).mul(255).round().to(torch.uint8)
    return image, Objects(boxes, labels, torch.zeros(len(shown), dtype=torch.bool))


def _covered_by(front: tuple[int, int, int, int], back: tuple[int, int, int, int]) -> float:
    """Share of the box in the back that the one in front covers."""
    width = min(front[2], back[2]) - max(front[0], back[0])
    height = min(front[3], back[3]) - max(front[1], back[1])
    return max(0, width) * max(0, height) / ((back[2] - back[0]) * (back[3] - back[1]))
