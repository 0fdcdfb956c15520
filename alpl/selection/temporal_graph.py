"""Errors of a detector, from how its detections hang together in time (thesis sec. 2.3.2, Eq. 2.1 to 2.4).

Axes: D detections, R tracks, Q candidates, E links, N = D + Q nodes. Frames are numbers that stand for an image each;
those of several videos may be given together, as nothing links them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, final

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from torch import Tensor

from alpl.boxes.iou_matching import iou
from alpl.errors import ConfigError

Ties: TypeAlias = Literal["absent", "present"]
"""Of several labelings of the least energy: the one with the most absent nodes, or with the most present ones."""


@final
@dataclass(frozen=True)
class GraphRules:
    """How the graph is built and cut.

    Args:
        iou_thresh: theta: a track and a detection of its class in its frame belong together where their IoU is above.
            The text leaves it open; as released.
        cluster_iou: tracks of a frame without such a detection are one candidate where their IoU with its first is
            above; as released.
        cluster_classes: whether tracks of different classes make different candidates. Not as released.
        pair_cost: of two linked nodes of which one is absent: 1 (Eq. 2.4), or 2 as released, where each link is added
            from either end.
        ties: see :data:`Ties`; the text leaves it open, as released.

    Raises:
        ConfigError: a value is out of range.
    """

    iou_thresh: float = 0.5
    cluster_iou: float = 0.75
    cluster_classes: bool = False
    pair_cost: int = 1
    ties: Ties = "absent"

    def __post_init__(self) -> None:
        for name, value in (("iou_thresh", self.iou_thresh), ("cluster_iou", self.cluster_iou)):
            if not 0 <= value <= 1:
                raise ConfigError(f"rules.{name} must be in [0, 1], got {value}")
        if isinstance(self.pair_cost, bool) or self.pair_cost < 1:
            raise ConfigError(f"rules.pair_cost must be an int >= 1, got {self.pair_cost}")
        if self.ties not in ("absent", "present"):
            raise ConfigError(f"rules.ties must be absent or present, got {self.ties!r}")


_PAIRS = 2**20  # of tracks and detections that are compared at a time: bounds the memory


class Boxes(NamedTuple):
    """Detections."""

    frame: Tensor
    """``Long[D]``."""
    label: Tensor
    """``Long[D]``."""
    box: Tensor
    """``Float[D 4]`` xyxy, pixels."""


class Tracks(NamedTuple):
    """Where detections are in other frames, as a tracker has it."""

    source: Tensor
    """``Long[R]`` which detection."""
    frame: Tensor
    """``Long[R]`` in which other frame."""
    box: Tensor
    """``Float[R 4]``."""


class GraphErrors(NamedTuple):
    """What is taken for an error."""

    false_positive: Tensor
    """``Bool[D]``."""
    frame: Tensor
    """``Long[Q]`` of each candidate."""
    box: Tensor
    """``Float[Q 4]``."""
    label: Tensor
    """``Long[Q]``: of its first track."""
    missed: Tensor
    """``Bool[Q]``: an object that the detector has missed (a false negative)."""


def graph_errors(detections: Boxes, tracks: Tracks, rules: GraphRules) -> GraphErrors:
    """Link detections, make candidates of the tracks that meet none, and cut the graph.

    Tracks are taken in the order of their frame, then of their detection's, then of the detection.

    Args:
        detections: all of some videos.
        tracks: of these detections, at most one each in a frame.
        rules: how.

    Returns:
        See :class:`GraphErrors`; candidates by frame, then in the order in which they were begun.
    """
    source = detections.frame[tracks.source]
    order = _by(tracks.source, source, tracks.frame)
    tracks = Tracks(*(each[order] for each in tracks))
    links, is_matched = _links(detections, tracks, rules.iou_thresh)
    loose = (~is_matched).nonzero().flatten()
    loose_tracks = Tracks(*(each[loose] for each in tracks))
    leader = _leaders(loose_tracks, detections.label[loose_tracks.source], rules)
    first = leader.unique()  # ascending: by frame
    candidate = torch.searchsorted(first, leader)
    number = len(detections.label)
    ends = torch.stack([loose_tracks.source, candidate + number], 1)
    edges = torch.cat([links, ends]).unique(dim=0)
    present = min_cut(number, len(first), edges, rules.pair_cost, rules.ties)
    begun = Tracks(*(each[first] for each in loose_tracks))
    return GraphErrors(~present[:number], begun.frame, begun.box, detections.label[begun.source], present[number:])


def min_cut(num_detections: int, num_candidates: int, edges: Tensor, pair_cost: int, ties: Ties) -> Tensor:
    r"""Label the nodes present or absent at the least energy.

    .. math:: E(x) = \sum_{d} (1 - x_d) + \sum_{c} x_c + w \sum_{(a, b)} |x_a - x_b|

    which is Eq. 2.1 to 2.4 with TP and FN for present (x = 1), FP and TN for absent: what is infinite there forbids
    the labels that a kind of node cannot have.

    Args:
        num_detections: D, nodes 0 to D - 1.
        num_candidates: Q, nodes D to N - 1.
        edges: ``Long[E 2]`` linked nodes, each pair once.
        pair_cost: w.
        ties: see :data:`Ties`.

    Returns:
        ``Bool[N]``: who is present.

    >>> min_cut(2, 1, torch.tensor([[0, 1], [0, 2]]), 1, "present").tolist()  # either labeling has energy 1
    [True, True, True]
    """
    number = num_detections + num_candidates
    if not number:
        return torch.zeros(0, dtype=torch.bool)
    source, sink = number, number + 1
    detections, candidates = np.arange(num_detections), np.arange(num_detections, number)
    one, other = edges.numpy().T if len(edges) else np.zeros((2, 0), dtype=np.int64)
    tails = np.concatenate([np.full(num_detections, source), candidates, one, other])
    heads = np.concatenate([detections, np.full(num_candidates, sink), other, one])
    sizes = np.concatenate([np.ones(number, dtype=np.int32), np.full(2 * len(one), pair_cost, dtype=np.int32)])
    capacities = csr_matrix((sizes, (tails, heads)), shape=(number + 2, number + 2), dtype=np.int32)
    residual = capacities - maximum_flow(capacities, source, sink).flow
    residual.eliminate_zeros()
    present = _reached(residual.tocsr(), source) if ties == "absent" else ~_reached(residual.T.tocsr(), sink)
    return torch.from_numpy(present[:number])


def _reached(graph: csr_matrix, start: int) -> np.ndarray:
    reached = np.zeros(graph.shape[0], dtype=bool)
    reached[breadth_first_order(graph, start, return_predecessors=False)] = True
    return reached


def _links(detections: Boxes, tracks: Tracks, thresh: float) -> tuple[Tensor, Tensor]:
    """``Long[E 2]``: linked detections, the smaller number first; ``Bool[R]``: the tracks that link one."""
    number = int(detections.label.max()) + 1 if len(detections.label) else 1
    place = detections.frame * number + detections.label  # of a frame and a class
    order = torch.argsort(place, stable=True)
    places, wanted = place[order], tracks.frame * number + detections.label[tracks.source]
    low, high = (torch.searchsorted(places, wanted, right=right) for right in (False, True))
    is_matched = torch.zeros(len(wanted), dtype=torch.bool)
    links = [torch.zeros(0, 2, dtype=torch.long)]
    turns = ((high - low).cumsum(0) - 1).clamp(min=0) // _PAIRS
    for part in torch.arange(len(wanted)).split(torch.bincount(turns).tolist()) if len(wanted) else ():
        counts = (high - low)[part]
        track = part.repeat_interleave(counts)
        within = torch.arange(len(track)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        met = order[low[track] + within]
        near = iou(tracks.box[track], detections.box[met]) > thresh
        is_matched[track[near]] = True
        links.append(torch.stack([tracks.source[track[near]], met[near]], 1).sort(1).values)
    return torch.cat(links), is_matched


def _leaders(tracks: Tracks, label: Tensor, rules: GraphRules) -> Tensor:
    """``Long[R]``: for each track, ordered by frame, the one that begins its candidate.

    In each frame the first that is left, and all that overlap it, and so on: all frames have a turn at a time.
    """
    leader = torch.full((len(label),), -1)
    left = torch.arange(len(label))
    while len(left):
        frame = tracks.frame[left]
        begins = torch.ones(len(left), dtype=torch.bool)
        begins[1:] = frame[1:] != frame[:-1]
        first = left[begins][begins.cumsum(0) - 1]
        joins = iou(tracks.box[left], tracks.box[first]) > rules.cluster_iou
        if rules.cluster_classes:
            joins &= label[left] == label[first]
        joins |= left == first
        leader[left[joins]] = first[joins]
        left = left[~joins]
    return leader


def _by(*keys: Tensor) -> Tensor:
    """Order by the last key, then the one before, and so on."""
    order = torch.arange(len(keys[0]))
    for key in keys:
        order = order[torch.argsort(key[order], stable=True)]
    return order
