"""From an SSD's outputs to Predictions: decode, suppress, and read what belongs to the priors that are left.

Axes: B images of a batch, P priors, C = K + 1 outputs (0 is the background), D detections of the batch, V views.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from alpl.boxes.box_coding import decode, to_absolute
from alpl.boxes.postprocess import detect_batch
from alpl.data.batch import Batch
from alpl.modules.consistency import corners
from alpl.modules.detector import Suppression
from alpl.modules.found import AbstractFound
from alpl.predictions import Form


@final
@dataclass(frozen=True, eq=False)
class PriorDetections(AbstractFound):
    """The detections of a batch, and all posteriors and boxes that they were chosen from.

    Args:
        probs: ``Float[B P C]``.
        boxes: ``Float[B P 4]`` cxcywh, each side of the image is 1.
    """

    form = Form.BACKGROUND

    probs: Tensor
    boxes: Tensor

    @classmethod
    def find(cls, probs: Tensor, deltas: Tensor, priors: Tensor, suppression: Suppression) -> PriorDetections:
        """Decode and suppress.

        Suppression works in units of the image, as the works do, so that its IoUs do not depend on the original's size.

        Args:
            probs: ``Float[B P C]``.
            deltas: ``[B P 4]``.
            priors: ``Float[P 4]`` cxcywh.
            suppression: what counts as a detection.
        """
        boxes = decode(deltas.float(), priors)
        detections = detect_batch(
            probs[..., 1:],
            corners(boxes),
            score_thresh=suppression.score_thresh,
            nms_thresh=suppression.nms_thresh,
            pre_nms_top_k=suppression.pre_nms_top_k,
            max_detections=suppression.max_detections,
        )
        return cls(detections, probs, boxes)

    @property
    def unit_boxes(self) -> Tensor:
        """``Float[D 4]`` xyxy, each side of the image is 1."""
        return corners(self.of(self.boxes))

    def of(self, values: Tensor, partner: Tensor | None = None) -> Tensor:
        """``[B P ...]`` -> ``[D ...]``: the values of the detections' priors, or of their ``Long[P]`` partners."""
        sources = self.detections.sources
        return values[self.detections.row, sources if partner is None else partner[sources]]

    def posterior(self) -> Tensor:
        """See the base class."""
        return self.of(self.probs)

    def boxes_in(self, batch: Batch) -> Tensor:
        """See the base class."""
        assert batch.sizes is not None, "detection batches carry the sizes of the original images"
        return to_absolute(self.of(self.boxes), batch.sizes[self.detections.row])


def posterior_of(logits: Tensor) -> Tensor:
    """``[... C]`` -> probabilities in float32, whatever the precision of the pass."""
    return logits.float().softmax(-1)
