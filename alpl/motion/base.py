"""What an acquisition may ask of motion: where a point of a frame is in the next one, or in the one before.

Axes: n points, each in a frame of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, TypeAlias, final

import torch
from torch import Tensor

from alpl.pool import Index

Step: TypeAlias = Literal[1, -1]
"""To the next frame of the video, or to the one before."""


class AbstractMotion(ABC):
    """The motion between neighboring frames of all videos of a data set."""

    @abstractmethod
    def moved(self, images: Index, points: Tensor, step: Step) -> Tensor:
        """Give where points are one frame on.

        Args:
            images: ``Long[n]`` dataset indices of the frames that the points are in.
            points: ``Float[n 2]`` x and y in pixels of these frames.
            step: see :data:`Step`.

        Returns:
            ``Float[n 2]``; NaN where nothing is known: at the end of a video, or where the recording has a gap.
        """

    @abstractmethod
    def sizes(self, images: Index) -> Tensor:
        """``Float[n 2]``: height and width of frames in pixels; infinite where that does not matter."""


@final
class Still(AbstractMotion):
    """Nothing moves, as on a parking lot: a box is looked for where it is."""

    def moved(self, images: Index, points: Tensor, step: Step) -> Tensor:
        """See the base class."""
        return points.clone()

    def sizes(self, images: Index) -> Tensor:
        """See the base class."""
        return torch.full((len(images), 2), torch.inf)
