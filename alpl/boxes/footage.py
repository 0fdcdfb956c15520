"""Footage: which image is which frame of which video.

Axes: N images of a data set, V videos, n images that are asked about.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from alpl.pool import Index


@final
@dataclass(frozen=True, eq=False)
class Footage:
    """Which image of a data set is which frame of which video; rows are dataset indices.

    Frames that take no part (cleaned away, or not readable) stay in it, so that the others keep their distances.

    Args:
        video: ``Long[N]`` which of the V videos an image is of.
        frame: ``Long[N]`` its number in the recording, gaps kept; no number twice in a video.
        names: of the V videos, all different.
        spacing: frames to either side that show much the same: the k of thesis sec. 2.5.2, 3 for ImageNet-VID and 1 for
            SYNTHIA-AL.

    Raises:
        ValueError: the shapes or types are not these, a video has no name, or a frame is there twice.

    >>> footage = Footage(torch.tensor([0, 0, 0, 1]), torch.tensor([4, 5, 9, 5]), ("left", "right"))
    >>> footage.shifted(torch.ones(4, dtype=torch.bool), torch.arange(4), by=1, reach=3).tolist()
    [1, -1, -1, -1]
    """

    video: Tensor
    frame: Tensor
    names: tuple[str, ...]
    spacing: int = 1

    def __post_init__(self) -> None:
        number = len(self.video)
        for name, value in (("video", self.video), ("frame", self.frame)):
            if value.dtype != torch.long or value.shape != (number,):
                raise ValueError(f"{name} must be Long[{number}], got {value.dtype} of shape {list(value.shape)}")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"names must be different, got {len(self.names) - len(set(self.names))} repeated")
        if number and not 0 <= int(self.video.min()) <= int(self.video.max()) < len(self.names):
            raise ValueError(
                f"video must lie in [0, {len(self.names)}), got {int(self.video.min())} to {int(self.video.max())}"
            )
        if self.spacing < 0:
            raise ValueError(f"spacing must be >= 0, got {self.spacing}")
        video, frame = self.video[self.order], self.frame[self.order]
        if bool(((video.diff() == 0) & (frame.diff() == 0)).any()):
            raise ValueError("frame must not repeat a number within a video")

    def __len__(self) -> int:
        return len(self.video)

    @cached_property
    def order(self) -> Index:
        """``Long[N]``: the images, video by video, by frame."""
        by_frame = torch.argsort(self.frame, stable=True)
        return by_frame[torch.argsort(self.video[by_frame], stable=True)]

    @cached_property
    def place(self) -> Tensor:
        """``Long[N]``: where each image stands in :attr:`order`; neighbors within a video are one apart."""
        place = torch.empty_like(self.order)
        place[self.order] = torch.arange(len(self.order))
        return place

    @cached_property
    def starts(self) -> Tensor:
        """``Long[V + 1]``: where in :attr:`order` each video begins, and where the last one ends."""
        counts = torch.bincount(self.video, minlength=len(self.names))
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    def shifted(self, kept: Tensor, images: Index, by: int, reach: int) -> Index:
        """Give the frame some steps later or earlier, counted among those that take part.

        Args:
            kept: ``Bool[N]`` the images that take part.
            images: ``Long[n]``, all of them among these.
            by: steps; below 0 for earlier frames.
            reach: how far the two frames' numbers may be apart: beyond a larger gap the scene is another.

        Returns:
            ``Long[n]``; -1 where there is no such frame.
        """
        order = self.order[kept[self.order]]
        place = torch.full((len(self),), -1)
        place[order] = torch.arange(len(order))
        to = place[images] + by
        inside = (to >= 0) & (to < len(order))
        if not len(order):
            return torch.full_like(images, -1)
        found = order[to.clamp(0, len(order) - 1)]
        near = (self.frame[found] - self.frame[images]).abs() <= reach
        return torch.where(inside & near & (self.video[found] == self.video[images]), found, -1)
