"""What readers of videos share: who is which frame, and which frames are cleaned away."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import final

import torch

from alpl.boxes.footage import Footage
from alpl.boxes.objects import AbstractDetectionSource, DetectionSplits
from alpl.errors import ConfigError, DataError


@final
@dataclass
class Reel:
    """The frames of a training set, in the order in which they are added to its annotations."""

    names: list[str] = field(default_factory=list)
    video: list[int] = field(default_factory=list)
    frame: list[int] = field(default_factory=list)
    cleaned: list[int] = field(default_factory=list)

    def begin(self, name: str) -> None:
        """Begin a video; the frames that follow are of it."""
        self.names.append(name)

    def add(self, frame: int, *, cleaned: bool = False) -> None:
        """Add a frame by its number in the recording; ``cleaned``: it keeps its place and takes no part."""
        if cleaned:
            self.cleaned.append(len(self.video))
        self.video.append(len(self.names) - 1)
        self.frame.append(frame)

    def wound(self, splits: DetectionSplits, spacing: int) -> DetectionSplits:
        """Give a data set with the footage, and without the frames that are cleaned away.

        Args:
            splits: made of the annotations of these frames.
            spacing: see :class:`alpl.boxes.footage.Footage`.
        """
        footage = Footage(torch.tensor(self.video), torch.tensor(self.frame), tuple(self.names), spacing)
        cleaned = torch.tensor(self.cleaned, dtype=torch.long)
        excluded = cleaned if splits.excluded is None else torch.cat([splits.excluded, cleaned]).unique()
        if len(excluded) == len(footage):
            raise DataError("every training frame is cleaned away or has a problem, so that none is left")
        return replace(splits, excluded=excluded, footage=footage)


def check_spacing(spacing: int) -> int:
    """Give back a spacing.

    Raises:
        ConfigError: it is no int >= 0.
    """
    if isinstance(spacing, bool) or not isinstance(spacing, int) or spacing < 0:
        raise ConfigError(f"data.source.spacing must be an int >= 0, got {spacing!r}")
    return spacing


@final
class NamedFrames(AbstractDetectionSource):
    """Frames of one's own, in any layout that is read as images: their names say who is which frame of which video.

    Args:
        source: reads images and annotations.
        pattern: a regular expression that matches the whole name of an image, with groups ``video`` and ``frame``; the
            frame is a number. By default all before the last digits of the name is the video: ``left/000017.jpg``,
            ``left_17.png``.
        spacing: see :class:`alpl.boxes.footage.Footage`.

    Raises:
        ConfigError: the pattern is none, or lacks one of these groups.
    """

    def __init__(
        self,
        source: AbstractDetectionSource,
        pattern: str = r"(?P<video>.*?)(?P<frame>\d+)\.\w+",
        spacing: int = 1,
    ) -> None:
        try:
            self.pattern = re.compile(pattern)
        except re.error as error:
            raise ConfigError(f"data.source.pattern must be a regular expression, got {pattern!r}: {error}") from error
        if not {"video", "frame"} <= set(self.pattern.groupindex):
            raise ConfigError(f"data.source.pattern must have groups named video and frame, got {pattern!r}")
        self.source, self.spacing = source, check_spacing(spacing)

    def prepare(self) -> None:
        """Let the source prepare itself."""
        self.source.prepare()

    def load(self) -> DetectionSplits:
        """Read the annotations, and the names.

        Raises:
            DataError: a name does not match, a frame is there twice, or see the source.
        """
        splits = self.source.load()
        reel, seen = Reel(), dict[tuple[str, int], str]()
        numbers: dict[str, int] = {}
        for name in splits.train.names:
            found = self.pattern.fullmatch(name)
            if found is None or not found["frame"].isdecimal():
                raise DataError(f"{name}: the name must match data.source.pattern={self.pattern.pattern!r}")
            video, frame = found["video"], int(found["frame"])
            if (other := seen.setdefault((video, frame), name)) != name:
                raise DataError(f"{name}: it is frame {frame} of video {video!r}, and so is {other}")
            if video not in numbers:
                numbers[video] = len(numbers)
                reel.begin(video)
            reel.video.append(numbers[video])
            reel.frame.append(frame)
        return reel.wound(splits, self.spacing)
