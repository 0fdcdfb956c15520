"""Choices that keep a distance: in time between frames of a video, or in feature space between any images.

Axes: U images to choose from, N places on a line, F features, L images that are there already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_BLOCK, _COMPARED = 256, 4096  # images that are compared at a time, and how many of those that are taken


class Blocked:
    """Which places of several videos on one line are too near to a taken one; a video never reaches into the next.

    Args:
        starts: ``Long[V + 1]`` where each video begins, and where the last one ends.
    """

    def __init__(self, starts: np.ndarray) -> None:
        self.starts = starts
        self.near = np.zeros(int(starts[-1]), dtype=bool)

    def add(self, places: Sequence[int] | np.ndarray, reach: int) -> None:
        """Block all places that are at most ``reach`` from one of these, in its video."""
        places = np.asarray(places, dtype=np.int64)
        video = np.searchsorted(self.starts, places, side="right") - 1
        low = np.maximum(places - reach, self.starts[video])
        high = np.minimum(places + reach + 1, self.starts[video + 1])
        edges = np.zeros(len(self.near) + 1, dtype=np.int64)
        np.add.at(edges, low, 1)
        np.add.at(edges, high, -1)
        self.near |= edges.cumsum()[:-1] > 0

    def take(self, place: int, video: int, reach: int) -> None:
        """Block around one place of a video."""
        self.near[max(place - reach, int(self.starts[video])) : min(place + reach + 1, int(self.starts[video + 1]))] = (
            True
        )


def greedy_spaced(
    order: np.ndarray, place: np.ndarray, video: np.ndarray, blocked: Blocked, reach: int, most: int
) -> list[int]:
    """Take the first of an order that is not blocked, block around it, and so on.

    Args:
        order: positions in U, the best first.
        place: ``Long[U]`` on the line.
        video: ``Long[U]``.
        blocked: the places that are out of the question; those that are taken are added.
        reach: places to either side of a taken one that are blocked.
        most: how many to take.

    Returns:
        Positions in U, in the order of choice.
    """
    taken: list[int] = []
    for candidate in order.tolist():
        if len(taken) == most:
            break
        if not blocked.near[place[candidate]]:
            taken.append(candidate)
            blocked.take(int(place[candidate]), int(video[candidate]), reach)
    return taken


def round_robin(queues: Sequence[Sequence[int]], most: int, utility: np.ndarray | None) -> list[int]:
    """Everyone's first, everyone's second, and so on.

    Args:
        queues: positions in U of each video, the best first.
        most: how many to take.
        utility: ``Float[U]`` decides who is taken of a round that exceeds ``most``; None for the first videos.

    >>> round_robin([[0, 1], [2], [3, 4]], 4, None)
    [0, 2, 3, 1]
    """
    taken: list[int] = []
    for turn in range(max(map(len, queues), default=0)):
        this_round = [queue[turn] for queue in queues if turn < len(queue)]
        room = most - len(taken)
        if len(this_round) > room and utility is not None:
            this_round = sorted(this_round, key=lambda candidate: -utility[candidate])  # stable: ties by name
        taken.extend(this_round[:room])
        if len(taken) == most:
            break
    return taken


class Distinct(NamedTuple):
    """What :func:`greedy_distinct` chose."""

    chosen: Tensor
    """``Long[b]`` positions in U, in the order of choice."""
    num_near: int
    """How many of them, the last ones, are nearer than asked, as there were not enough others."""


def greedy_distinct(order: Tensor, features: Tensor, taken: Tensor, distance: float, most: int) -> Distinct:
    """Take the first of an order that is far from all that is taken, and so on; then those that were passed over.

    Args:
        order: ``Long[U]`` positions in U, the best first.
        features: ``Float[U F]`` of unit length, or as they are compared: by Euclidean distance.
        taken: ``Float[L F]`` of the images that are there already.
        distance: an image nearer than this to a taken one is passed over.
        most: how many to take, b.

    Returns:
        See :class:`Distinct`.
    """
    chosen: list[int] = []
    passed: list[int] = []
    there = taken
    for block in order.split(_BLOCK):
        if len(chosen) == most:
            break
        own = features[block]
        nearest = torch.full((len(block),), torch.inf)
        for part in there.split(_COMPARED) if len(there) else ():
            nearest = torch.minimum(nearest, torch.cdist(own, part).amin(1).cpu())
        among = torch.cdist(own, own).cpu()
        new: list[int] = []
        for place, candidate in enumerate(block.tolist()):
            far = float(nearest[place]) >= distance and not bool((among[place, new] < distance).any())
            if far and len(chosen) < most:
                chosen.append(candidate)
                new.append(place)
            elif not far:
                passed.append(candidate)
        there = torch.cat([there, own[new]])
    missing = passed[: most - len(chosen)]
    return Distinct(torch.tensor(chosen + missing, dtype=torch.long), len(missing))
