"""Temporal coherence: frames whose detections do not hang together with those around them (thesis ch. 2).

Axes: U unlabeled images, D detections, R tracks.
"""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor

from alpl.acquisition.base import AbstractRanking, Context
from alpl.acquisition.detection_errors import COUNTS, Count
from alpl.acquisition.object_ranking import check_score_thresh
from alpl.acquisition.trackers import AbstractTracker
from alpl.boxes.footage import Footage
from alpl.errors import ConfigError
from alpl.pool import EXCLUDED, Index
from alpl.predictions import Need
from alpl.selection.temporal_graph import Boxes, GraphErrors, GraphRules, Tracks, graph_errors

_BLOCK = 20_000  # detections of some videos that one graph holds: bounds the memory


@final
class TemporalCoherence(AbstractRanking):
    """Frames with the most estimated errors of the detector (thesis sec. 2.3.2, "TC").

    Detections are tracked to the frames around theirs. A detection that few others support is taken for a false
    positive, a place where tracks agree and nothing is detected for a missed object: see
    :func:`alpl.selection.temporal_graph.graph_errors`. Labeled frames support, too.

    Args:
        tracker: follows detections.
        count: what is counted in a frame: false positives (``fp``, as the thesis does), missed objects (``fn``) or
            ``both``.
        rules: of the graph.
        window: frames to either side that a detection is tracked to, of those that take part.
        score_thresh: a detection of this score, or of a lower one, does not count; the text leaves it open, as
            released.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    def __init__(
        self,
        tracker: AbstractTracker,
        count: Count = "fp",
        rules: GraphRules | None = None,
        window: int = 3,
        score_thresh: float = 0.5,
    ) -> None:
        if not isinstance(tracker, AbstractTracker):
            raise ConfigError(f"acquisition.tracker must be an AbstractTracker, got {type(tracker).__name__}")
        if count not in COUNTS:
            raise ConfigError(f"acquisition.count must be one of {', '.join(COUNTS)}, got {count!r}")
        if window < 1:
            raise ConfigError(f"acquisition.window must be >= 1, got {window}")
        self.tracker, self.count, self.window = tracker, count, window
        self.rules = GraphRules() if rules is None else rules
        self.score_thresh = check_score_thresh(score_thresh)
        self.needs = tracker.needs | Need.BOXES | Need.LABELED | Need.FOOTAGE

    def utility(self, context: Context) -> Tensor:
        """``Float64[U]``: the number of estimated errors."""
        errors = torch.zeros(len(context.pool.cycle), dtype=torch.float64)
        for found in self.estimated(context):
            counts = found.counts(self.count)
            errors += torch.bincount(counts, minlength=len(errors))
        return errors[context.pool.unlabeled]

    def estimated(self, context: Context) -> list[Estimated]:
        """Estimate the errors in all frames, block of videos by block."""
        footage = context.footage
        assert footage is not None, "Need.FOOTAGE was declared"
        seen = self._detections(context)
        order = torch.argsort(footage.place[seen.frame], stable=True)
        seen = Boxes(*(each[order] for each in seen))
        counts = torch.bincount(footage.video[seen.frame], minlength=len(footage.names))
        found, start = [], 0
        for number in _blocks(counts.tolist()):
            block = Boxes(*(each[start : start + number] for each in seen))
            tracks = self._tracks(context, footage, block)
            found.append(Estimated(block, graph_errors(block, tracks, self.rules)))
            start += number
        return found

    def _detections(self, context: Context) -> Boxes:
        """Those of unlabeled and labeled frames that count, the frame as its dataset index."""
        parts = []
        for predictions in (context.predictions, context.labeled):
            assert predictions is not None and predictions.boxes is not None, "LABELED and BOXES were declared"
            assert predictions.scores is not None and predictions.labels is not None, "every detector gives them"
            chosen = (predictions.scores > self.score_thresh).nonzero().flatten()
            frame = predictions.index.cpu()[predictions.row[chosen].cpu()]
            parts.append((frame, predictions.labels[chosen].cpu(), predictions.boxes[chosen].cpu().float()))
        return Boxes(*(torch.cat(each) for each in zip(*parts, strict=True)))

    def _tracks(self, context: Context, footage: Footage, seen: Boxes) -> Tracks:
        """Track each detection to the frames around its own; those that are lost are left out."""
        kept = context.pool.cycle != EXCLUDED
        source, target = _around(footage, kept, seen.frame, self.window)
        boxes = self.tracker.track(context, seen.frame[source], seen.box[source], target)
        there = ~boxes.isnan().any(1)
        return Tracks(source[there], target[there], boxes[there])


class Estimated(NamedTuple):
    """What is estimated of some videos."""

    detections: Boxes
    """Frames are dataset indices."""
    errors: GraphErrors

    def counts(self, which: Count) -> Index:
        """``Long[...]``: the frame of each error that is counted."""
        wrong = self.detections.frame[self.errors.false_positive]
        missed = self.errors.frame[self.errors.missed]
        return {"fp": wrong, "fn": missed, "both": torch.cat([wrong, missed])}[which]


def _around(footage: Footage, kept: Tensor, frames: Index, window: int) -> tuple[Tensor, Index]:
    """``Long[R]`` each: which detection, and a frame at most ``window`` from its own.

    Not across gaps: the frames' numbers differ by ``window`` + 1 at most, as released (there below 5).
    """
    sources, targets = [], []
    for by in (*range(-window, 0), *range(1, window + 1)):
        target = footage.shifted(kept, frames, by, reach=window + 1)
        there = (target >= 0).nonzero().flatten()
        sources.append(there)
        targets.append(target[there])
    return torch.cat(sources), torch.cat(targets)


def _blocks(counts: list[int]) -> list[int]:
    """Give how many detections each block of whole videos has.

    >>> _blocks([15_000, 0, 4_000, 3_000])
    [19000, 3000]
    """
    blocks = [0]
    for count in counts:
        if blocks[-1] and blocks[-1] + count > _BLOCK:
            blocks.append(0)
        blocks[-1] += count
    return [count for count in blocks if count]
