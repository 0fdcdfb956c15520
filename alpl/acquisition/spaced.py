"""Spacing around any ranking: frames that are not beside labeled ones, or images that do not look like labeled ones.

Axes: U unlabeled images, N images of the data set.
"""

from __future__ import annotations

import logging
import math
from typing import Literal, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from alpl.acquisition.base import AbstractAcquisition, Context, Query, check_ranking
from alpl.boxes.footage import Footage
from alpl.errors import ConfigError
from alpl.predictions import Need
from alpl.selection.spacing import Blocked, greedy_distinct, greedy_spaced, round_robin

log = logging.getLogger("alpl")


@final
class Spaced(AbstractAcquisition):
    """The frames that a ranking values most, none beside a labeled one or another of the query (thesis sec. 2.5.2).

    The "temporal representativeness" and per-video sampling that all methods of the thesis's chapter 2 have; around
    random sampling its Random+R. Distances are positions within a video, frames that take no part counted.

    Where too few frames keep their distance, first ``within`` shrinks frame by frame, then ``across``, and the best
    frames of all videos are taken; the log says how many. The text does not say.

    Args:
        ranking: values the frames; ties are broken by a seeded draw.
        across: labeled frames' neighbors to either side that are not chosen, k; None for what suits the data
            (:attr:`alpl.boxes.Footage.spacing`).
        within: those of frames of the query itself; None for k. ``as_released``: 5 beside an ``across`` of 3.
        per_video: take each video's best frame, then each one's second best, and so on; else the best of all.
        round_ties: of the last round, which has fewer places than videos: the frames of highest ``utility``, or the
            first videos by ``name`` (as released: then the alphabet decides).
        never: frames of a lower utility come last, when all others are used; None for no such frames. The released
            code's entropy gives -1 to frames without a detection.

    Raises:
        ConfigError: ``ranking`` is a set method, or a value is out of range.
    """

    def __init__(
        self,
        ranking: AbstractAcquisition,
        across: int | None = None,
        within: int | None = None,
        per_video: bool = True,
        round_ties: Literal["utility", "name"] = "utility",
        never: float | None = None,
    ) -> None:
        self.ranking = check_ranking(ranking, "ranking")
        for name, value in (("across", across), ("within", within)):
            if value is not None and (isinstance(value, bool) or value < 0):
                raise ConfigError(f"acquisition.{name} must be null or >= 0, got {value}")
        if round_ties not in ("utility", "name"):
            raise ConfigError(f"acquisition.round_ties must be utility or name, got {round_ties!r}")
        if never is not None and not math.isfinite(never):
            raise ConfigError(f"acquisition.never must be null or finite, got {never}")
        self.across, self.within, self.per_video = across, within, per_video
        self.round_ties, self.never = round_ties, never
        self.needs = ranking.needs | Need.FOOTAGE
        self.image_layers = ranking.image_layers

    def select(self, context: Context) -> Query:
        """Choose; see the class.

        Raises:
            ValueError: the budget exceeds the unlabeled images; or a utility is not finite.
        """
        assert context.footage is not None, "Need.FOOTAGE was declared"
        valued = self.ranking.valued(context)
        utility = checked_utility(valued.images, context)
        chosen = torch.tensor(_Choice(self, context, context.footage, utility.numpy()).made(), dtype=torch.long)
        return Query(context.pool.unlabeled[chosen], utility[chosen], utility, valued.objects)


@final
class _Choice:
    """One choice: the frames of the pool on one line, video after video."""

    def __init__(self, rule: Spaced, context: Context, footage: Footage, utility: np.ndarray) -> None:
        self.rule, self.budget, self.utility = rule, context.budget, utility
        self.starts = footage.starts.numpy()
        unlabeled = context.pool.unlabeled
        self.place, self.video = footage.place[unlabeled].numpy(), footage.video[unlabeled].numpy()
        self.labeled = footage.place[context.pool.labeled].numpy()
        self.order = order_of(utility, context).numpy()
        self.names = footage.names
        self.across = footage.spacing if rule.across is None else rule.across
        self.within = self.across if rule.within is None else rule.within
        self.taken: list[int] = []

    def made(self) -> list[int]:
        """Positions in U, in the order of choice."""
        usable = np.full(len(self.utility), True) if self.rule.never is None else self.utility >= self.rule.never
        self._with_distance(usable)
        across, within = self.across, self.within
        before = len(self.taken)
        while len(self.taken) < self.budget and (across or within):
            across, within = (across, within - 1) if within else (across - 1, 0)
            self._best(usable, across, within)
        if len(self.taken) < self.budget:
            self._best(np.full(len(self.utility), True), self.across, self.within)  # those that never were to be
        if len(self.taken) < self.budget:
            self._best(np.full(len(self.utility), True), 0, 0)
        if len(self.taken) > before:
            log.warning(
                "%d of %d frames are nearer to labeled frames or to each other than %d and %d frames, or of a utility "
                "below %s: there are no others",
                *(len(self.taken) - before, self.budget, self.across, self.within, self.rule.never),
            )
        return self.taken

    def _with_distance(self, usable: np.ndarray) -> None:
        blocked = self._blocked(self.across, self.within)
        order = self.order[usable[self.order]]
        if not self.rule.per_video:
            self.taken = greedy_spaced(order, self.place, self.video, blocked, self.within, self.budget)
            return
        by_video = order[np.argsort(self.video[order], kind="stable")]
        ends = np.searchsorted(self.video[by_video], np.arange(len(self.names) + 1))
        queues = {}
        for video in sorted(range(len(self.names)), key=lambda number: self.names[number]):
            own = by_video[ends[video] : ends[video + 1]]
            queues[video] = greedy_spaced(own, self.place, self.video, blocked, self.within, self.budget)
        ties = self.utility if self.rule.round_ties == "utility" else None
        self.taken = round_robin(list(queues.values()), self.budget, ties)

    def _best(self, usable: np.ndarray, across: int, within: int) -> None:
        """Add the best frames of all videos at smaller distances."""
        left = usable.copy()
        left[self.taken] = False
        order = self.order[left[self.order]]
        blocked = self._blocked(across, within)
        room = self.budget - len(self.taken)
        self.taken += greedy_spaced(order, self.place, self.video, blocked, within, room)

    def _blocked(self, across: int, within: int) -> Blocked:
        """Give what is too near to a labeled frame, or to one that is taken."""
        blocked = Blocked(self.starts)
        blocked.add(self.labeled, across)
        blocked.add(self.place[self.taken], within)
        return blocked


@final
class SpacedByFeature(AbstractAcquisition):
    """The images that a ranking values most, none nearly the same as a labeled one or another of the query.

    What :class:`Spaced` does in time, in the space of image features: for near-duplicates of any kind, e.g. of videos
    whose order is lost. Not one of the thesis's. Where too few are left, the best of the others are taken, and the log
    says how many.

    Args:
        ranking: values the images; ties are broken by a seeded draw.
        distance: one minus the cosine of two images' features below which they are too near.

    Raises:
        ConfigError: ``ranking`` is a set method, or ``distance`` is not in [0, 2].
    """

    def __init__(self, ranking: AbstractAcquisition, distance: float = 0.05) -> None:
        self.ranking = check_ranking(ranking, "ranking")
        if not 0 <= distance <= 2:
            raise ConfigError(f"acquisition.distance must be in [0, 2], got {distance}")
        self.distance = distance
        self.needs = ranking.needs | Need.IMAGE_FEATURES | Need.LABELED
        self.image_layers = ranking.image_layers

    def select(self, context: Context) -> Query:
        """Choose; see the class.

        Raises:
            ValueError: the budget exceeds the unlabeled images; or a utility is not finite.
        """
        assert context.labeled is not None, "Need.LABELED was declared"
        features, there = context.predictions.image_features, context.labeled.image_features
        assert features is not None and there is not None, "Need.IMAGE_FEATURES was declared"
        valued = self.ranking.valued(context)
        utility = checked_utility(valued.images, context)
        order = order_of(utility.numpy(), context).to(features.device)
        euclidean = math.sqrt(2 * self.distance)  # of vectors of unit length: |a - b|^2 = 2 (1 - cos)
        unit, taken = (F.normalize(each.float(), dim=1) for each in (features, there))
        found = greedy_distinct(order, unit, taken, euclidean, context.budget)
        if found.num_near:
            log.warning(
                "%d of %d images are nearer to labeled ones or to each other than %g: there are no others",
                *(found.num_near, context.budget, self.distance),
            )
        chosen = found.chosen
        return Query(context.pool.unlabeled[chosen], utility[chosen], utility, valued.objects)


def checked_utility(values: Tensor, context: Context) -> Tensor:
    """``Float64[U]``: a ranking's utilities on the CPU.

    Raises:
        ValueError: they are not one finite value an image, or the budget exceeds the images.
    """
    utility, number = values.detach().cpu().double(), len(context.pool.unlabeled)
    if utility.shape != (number,) or not bool(utility.isfinite().all()):
        raise ValueError(f"the ranking's utility must be Float[{number}] and finite, got shape {list(utility.shape)}")
    if not 0 <= context.budget <= number:
        raise ValueError(f"budget must be in [0, {number}] images, got {context.budget}")
    return utility


def order_of(utility: np.ndarray, context: Context) -> Tensor:
    """``Long[U]``: the highest utility first, ties by the context's draw."""
    shuffled = torch.randperm(len(utility), generator=context.generator("ties"))
    return shuffled[torch.argsort(torch.from_numpy(utility)[shuffled], descending=True, stable=True)]
