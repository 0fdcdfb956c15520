"""Trackers: where what a box holds is in another frame of its video.

Axes: R boxes, each in a frame of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from alpl.acquisition.base import Context
from alpl.boxes.footage import Footage
from alpl.motion import AbstractMotion
from alpl.motion.base import Step
from alpl.pool import Index
from alpl.predictions import Need


class AbstractTracker(ABC):
    """Follows boxes from frame to frame."""

    needs: Need = Need.NOTHING
    """What the context must hold."""

    @abstractmethod
    def track(self, context: Context, source: Index, boxes: Tensor, target: Index) -> Tensor:
        """Follow boxes.

        Args:
            context: with what the tracker needs, and footage.
            source: ``Long[R]`` the frames that the boxes are in, as dataset indices.
            boxes: ``Float[R 4]`` xyxy, pixels of these frames.
            target: ``Long[R]`` another frame of the same video each, earlier or later.

        Returns:
            ``Float[R 4]``; NaN where a box is lost, or has left the image.
        """


@final
class FlowTracker(AbstractTracker):
    """Moves a box, in its size, by the optical flow at its center, frame by frame (thesis sec. 2.3.2).

    The center of a box that sticks out of the image may lie outside; flow is read at the border then.
    """

    needs = Need.MOTION | Need.FOOTAGE

    def track(self, context: Context, source: Index, boxes: Tensor, target: Index) -> Tensor:
        """See the base class; across a gap of the recording a box is lost."""
        footage, motion = context.footage, context.motion
        assert footage is not None and motion is not None, "Need.FOOTAGE and Need.MOTION were declared"
        centers = (boxes[:, :2] + boxes[:, 2:]).float() / 2
        half = (boxes[:, 2:] - boxes[:, :2]).float() / 2
        later = footage.place[target] > footage.place[source]
        moved = torch.full_like(centers, torch.nan)
        steps: tuple[Step, Step] = (1, -1)
        for step in steps:
            rows = (later == (step > 0)).nonzero().flatten()
            moved[rows] = _walked(footage, motion, source[rows], centers[rows], target[rows], step)
        found = torch.cat([moved - half, moved + half], 1)
        size = motion.sizes(target).flip(1)
        inside = (torch.minimum(found[:, 2:], size) > found[:, :2].clamp(min=0)).all(1)
        return found.masked_fill(~inside[:, None], torch.nan)


def _walked(
    footage: Footage, motion: AbstractMotion, source: Index, points: Tensor, target: Index, step: Step
) -> Tensor:
    """``Float[R 2]``: the points after as many steps as it takes."""
    every = torch.ones(len(footage), dtype=torch.bool)
    at, points = source.clone(), points.clone()
    walking = (at != target).nonzero().flatten()
    while len(walking):
        following = footage.shifted(every, at[walking], step, reach=1)
        points[walking] = motion.moved(at[walking], points[walking], step)
        points[walking[following < 0]] = torch.nan
        at[walking] = torch.where(following < 0, target[walking], following)
        lost = points[walking].isnan().any(1)
        walking = walking[(at[walking] != target[walking]) & ~lost]
    return points
