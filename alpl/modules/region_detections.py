"""From what a second stage says about each proposal to detections that keep their proposal.

Axes: B images of a batch, R proposals of all of them, C = K + 1 outputs (0 is the background), D detections, F
features, V views.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

from alpl.boxes.postprocess import Detections, best_of_classes, detect_candidates
from alpl.data.batch import Batch
from alpl.modules.detector import Suppression
from alpl.modules.found import AbstractInputFound
from alpl.modules.padding import clip
from alpl.networks.faster_rcnn import FasterRcnn
from alpl.predictions import Form

MIN_SIDE = 1e-2
"""Pixels of the input: a candidate with a smaller side after clipping is none (torchvision's number)."""


@final
class RegionDetections(AbstractInputFound):
    """The detections of a batch; their sources are counted through all R proposals of the batch."""

    form = Form.BACKGROUND

    @classmethod
    def find(
        cls,
        probs: Tensor,
        deltas: Tensor,
        proposals: Sequence[Tensor],
        network: FasterRcnn,
        batch: Batch,
        suppression: Suppression,
    ) -> RegionDetections:
        """Decode and suppress, as torchvision's Faster R-CNN does but for ``suppression.pre_nms_top_k``.

        Every pair of proposal and foreground class above the threshold is a candidate with the box of that class,
        clipped to the image without its padding. torchvision has no ``pre_nms_top_k`` (of a class here): a number not
        below that of the proposals is none.

        Args:
            probs: ``Float[R C]``.
            deltas: ``Float[R C 4]``.
            proposals: B of ``Float[n 4]``, R in all.
            network: decodes.
            batch: B images.
            suppression: what counts as a detection.
        """
        joined = torch.cat(list(proposals))
        sources, labels = (probs[:, 1:] > suppression.score_thresh).nonzero(as_tuple=True)
        row = rows_of(proposals)[sources]
        boxes = clip(network.decode(deltas[sources, labels + 1], joined[sources]), row, batch)
        chosen = ((boxes[:, 2:] - boxes[:, :2]) >= MIN_SIDE).all(1).nonzero().flatten()
        candidates = Detections(row, sources, labels, probs[sources, labels + 1]).at(chosen)
        best = best_of_classes(candidates, suppression.pre_nms_top_k)
        candidates, boxes = candidates.at(best), boxes[chosen[best]]
        kept = detect_candidates(candidates, boxes, suppression.nms_thresh, suppression.max_detections)
        detections = candidates.at(kept)
        return cls(detections, probs[detections.sources], boxes[kept])


@final
class ChosenProposals(NamedTuple):
    """The proposals that detections come from, each once: what is asked again for views and features."""

    boxes: list[Tensor]
    """B of ``Float[n 4]``."""
    places: Tensor
    """``Long[n]``, all of them, within the R proposals; ascending."""
    of_detections: Tensor
    """``Long[D]`` within ``places``."""

    @classmethod
    def of(cls, found: RegionDetections, proposals: Sequence[Tensor]) -> ChosenProposals:
        """Choose from B of ``Float[n 4]``, R in all."""
        places, of_detections = torch.unique(found.detections.sources, return_inverse=True)
        counts = torch.bincount(rows_of(proposals)[places], minlength=len(proposals))
        return cls(list(torch.cat(list(proposals))[places].split(counts.tolist())), places, of_detections)

    def mirrored(self, width: int) -> list[Tensor]:
        """B of ``Float[n 4]`` in the mirror images of padded inputs of this width."""
        return [
            torch.stack([width - x2, y1, width - x1, y2], 1) for x1, y1, x2, y2 in (b.unbind(1) for b in self.boxes)
        ]


def rows_of(proposals: Sequence[Tensor]) -> Tensor:
    """``Long[R]``: which of the B images each proposal belongs to."""
    counts = torch.tensor([len(each) for each in proposals], device=proposals[0].device)
    return torch.arange(len(proposals), device=proposals[0].device).repeat_interleave(counts)
