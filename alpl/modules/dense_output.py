"""What the heads of a dense detector give, and the detections among it.

Axes: B images of a batch, P anchors (or points) over all maps of a pyramid, K classes, D detections of the batch,
F features, V views.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias, final

import torch
from torch import Tensor

from alpl.boxes.map_candidates import best_of_maps
from alpl.boxes.postprocess import Detections, detect_candidates
from alpl.data.batch import Batch
from alpl.modules.detector import Suppression
from alpl.modules.found import AbstractInputFound
from alpl.modules.padding import clip
from alpl.predictions import Form

Decode: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""``Float[n 4]`` deltas and anchors -> ``Float[n 4]`` xyxy."""
Scoring: TypeAlias = Literal["root", "product"]
"""How the score comes from a class's probability p and the confidence in the box, see :class:`DenseOutput`."""


@final
class DenseOutput(NamedTuple):
    """What one pass of the heads gives."""

    logits: Tensor
    """``Float[B P K]``."""
    deltas: Tensor
    """``Float[B P 4]``, in the detector's own code."""
    confidence: Tensor | None
    """``Float[B P 1]`` logits of how good a box is, its centerness or its IoU; None where the detector has none."""
    anchors: Tensor
    """``Float32[P 4]`` xyxy, pixels of the padded input."""
    cells: tuple[tuple[int, int], ...]
    """Height and width of each map."""
    scoring: Scoring = "root"
    """Where there is a confidence: "root", the geometric mean of both, which is also what the threshold is of (FCOS in
    torchvision); "product", of which the threshold is of p alone (ATSS and DDOD as released)."""

    def probs_of(self, detections: Detections) -> Tensor:
        """``Float[D K]`` of the anchors that detections come from."""
        return self.logits[detections.row, detections.sources].sigmoid()

    @property
    def lengths(self) -> list[int]:
        """How many of the P anchors each map has; the anchors of a cell are beside each other."""
        cells = [height * width for height, width in self.cells]
        return [number * (self.logits.shape[1] // sum(cells)) for number in cells]


@final
class Found(AbstractInputFound):
    """The detections of a batch; posteriors are those of K independent classes."""

    form = Form.SIGMOID


def find(outputs: Sequence[DenseOutput], decode: Decode, batch: Batch, suppression: Suppression) -> Found:
    """Find the detections of one output, or of the means of several with the same anchors.

    Boxes are clipped to the image without its padding, and suppressed in pixels of the input, as torchvision does.
    """
    thresh = suppression.score_thresh
    least = thresh if outputs[0].scoring == "root" else 0.0  # what is out by its probability is there no more
    candidates = best_of_maps(_scores(outputs, thresh), least, suppression.pre_nms_top_k)
    row, sources = candidates.row, candidates.sources
    deltas = _mean([output.deltas[row, sources] for output in outputs])
    boxes = clip(decode(deltas, outputs[0].anchors[sources]), row, batch)
    kept = detect_candidates(candidates, boxes, suppression.nms_thresh, suppression.max_detections)
    detections = candidates.at(kept)
    probs = _mean([output.probs_of(detections) for output in outputs])
    return Found(detections, probs, boxes[kept])


def _scores(outputs: Sequence[DenseOutput], score_thresh: float) -> Iterator[Tensor]:
    """Give ``Float[B p K]`` of each map, one map at a time; of products, 0 where p is not above the threshold."""
    start = 0
    for length in outputs[0].lengths:
        part = slice(start, start + length)
        probs = _mean([output.logits[:, part].sigmoid() for output in outputs])
        confidence = [output.confidence[:, part].sigmoid() for output in outputs if output.confidence is not None]
        start += length
        if not confidence:
            yield probs
        elif outputs[0].scoring == "root":
            yield (probs * _mean(confidence)).sqrt()
        else:
            yield (probs * _mean(confidence)).where(probs > score_thresh, 0.0)


def _mean(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).mean(0)


def mirrored_anchors(output: DenseOutput, width: int) -> Tensor:
    """Give the partner of each anchor in the mirrored padded input: the anchor that lies where its mirror image does.

    torchvision's anchors are centered at ``column * stride``, not in the middle of a cell, so that the mirror image of
    column c is column ``width / stride - c``, not the last less c; convolutions with padding see their cells there
    too. The mirror image of column 0 would be one column outside: it gets the nearest, the last one.

    Args:
        output: of the input.
        width: of the padded input, in pixels.

    Returns:
        ``Long[P]``.
    """
    device, offset, parts = output.logits.device, 0, []
    for (high, wide), length in zip(output.cells, output.lengths, strict=True):
        stride = width // wide
        columns = torch.arange(wide, device=device)
        partner = ((width - columns * stride) / stride).round().long().clamp(0, wide - 1)
        places = torch.arange(length, device=device).view(high, wide, length // (high * wide))
        parts.append(places[:, partner].flatten() + offset)
        offset += length
    return torch.cat(parts)


def cells_of_sources(output: DenseOutput, sources: Tensor) -> tuple[Tensor, Tensor]:
    """``Long[D]`` anchors -> ``Long[D]`` their maps, ``Long[D]`` their cells, counted row by row."""
    lengths = torch.tensor(output.lengths, device=sources.device)
    ends = lengths.cumsum(0)
    level = torch.searchsorted(ends, sources, right=True)
    per_cell = output.logits.shape[1] // sum(height * width for height, width in output.cells)
    return level, torch.div(sources - (ends - lengths)[level], per_cell, rounding_mode="floor")


def cells_of_centers(boxes: Tensor, cells: tuple[int, int], images: Tensor) -> Tensor:
    """``Float[D 4]`` in pixels of the padded input -> ``Long[D]`` cells of a map, counted row by row."""
    high, wide = cells
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    column = (centers[:, 0] * (wide / images.shape[3])).long().clamp(0, wide - 1)
    row = (centers[:, 1] * (high / images.shape[2])).long().clamp(0, high - 1)
    return row * wide + column
