"""What a teacher with two stages finds on images, how steady its boxes are, and where it sees nothing.

Axes: B images of a batch, n boxes of one image, D boxes of all of them, T jitters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

from alpl.boxes.objects import LEAST_EXTENT
from alpl.boxes.warped import warp_boxes
from alpl.data.batch import Batch
from alpl.losses.soft_teacher import box_variance, jittered
from alpl.modules.detector import Suppression
from alpl.modules.padding import input_sizes
from alpl.modules.region_detections import RegionDetections
from alpl.networks.faster_rcnn import FasterRcnn


@final
class PseudoBoxes(NamedTuple):
    """A teacher's boxes of one image."""

    boxes: Tensor
    """``Float[n 4]`` xyxy, in pixels of a network's input."""
    labels: Tensor
    """``Long[n]``, 0 is the first foreground class."""
    scores: Tensor
    """``Float[n]``."""
    variances: Tensor
    """``Float[n]``, see :func:`alpl.losses.soft_teacher.box_variance`."""

    def at(self, chosen: Tensor) -> PseudoBoxes:
        """``Bool[n]`` -> those."""
        return PseudoBoxes(*(field[chosen] for field in self))

    def seen(self, warp: Tensor, size: Tensor) -> PseudoBoxes:
        """Give them in another view, cut at its border; those that are left without extent are dropped.

        Args:
            warp: ``Float[3 3]``, from this view to that one.
            size: ``Long[2]``, height and width of that one.
        """
        boxes = within(warp_boxes(self.boxes, warp), size)
        moved = self._replace(boxes=boxes)
        return moved.at((boxes[:, 2:] - boxes[:, :2] >= LEAST_EXTENT).all(1))

    def targets(self) -> dict[str, Tensor]:
        """Give them as torchvision wants objects."""
        return {"boxes": self.boxes, "labels": self.labels + 1}


@final
class TeacherPass:
    """A teacher that looks at images, once: its maps are asked again and again, without gradients.

    Args:
        network: is put into evaluation mode.
        batch: B images.
    """

    @torch.no_grad()
    def __init__(self, network: FasterRcnn, batch: Batch) -> None:
        self.network, self.batch = network.eval(), batch
        self.sizes = input_sizes(batch)
        self.maps = network.backbone(batch.images)

    @torch.no_grad()
    def pseudo_boxes(self, suppression: Suppression, jitters: int, scale: float) -> list[PseudoBoxes]:
        """Detect, and find each detection again from jittered copies of it: B.

        Args:
            suppression: what counts as a detection.
            jitters: T, at least 2.
            scale: see :func:`alpl.losses.soft_teacher.jittered`.
        """
        sizes = [(height, width) for height, width in self.sizes.tolist()]
        proposals = self.network.proposals(self.maps, self.batch.images, sizes)
        output = self.network.regions(self.maps, proposals, self.batch.images)
        probs = output.logits.softmax(-1)
        found = RegionDetections.find(probs, output.deltas, proposals, self.network, self.batch, suppression)
        detections = found.detections
        counts = detections.row.bincount(minlength=len(self.batch.images)).tolist()
        boxes = list(found.input_boxes.split(counts))
        variances = self._variances(boxes, list(detections.labels.split(counts)), jitters, scale)
        fields = (found.input_boxes, detections.labels, detections.scores, variances)
        return [PseudoBoxes(*each) for each in zip(*(field.split(counts) for field in fields), strict=True)]

    def _variances(self, boxes: Sequence[Tensor], labels: Sequence[Tensor], jitters: int, scale: float) -> Tensor:
        """``Float[D]``."""
        moved = [jittered(each, torch.randn(jitters, len(each), 4).to(each), scale) for each in boxes]
        asked = [each.flatten(0, 1) for each in moved]
        deltas = self.network.regions(self.maps, asked, self.batch.images).deltas
        parts = deltas.split([len(each) for each in asked])
        variances = []
        for place, size, label, delta in zip(asked, self.sizes, labels, parts, strict=True):
            outputs = label.repeat(jitters) + 1
            refined = self.network.decode(delta[torch.arange(len(outputs), device=outputs.device), outputs], place)
            variances.append(box_variance(within(refined, size).view(jitters, -1, 4)))
        return torch.cat(variances)

    @torch.no_grad()
    def background(self, regions: Sequence[Tensor], warps: Tensor) -> Tensor:
        """Say how likely there is nothing where a second view's regions are: ``Float[n]``, of all regions in order.

        Args:
            regions: B of ``Float[n 4]`` in the second view.
            warps: ``Float[B 3 3]``, from this view to that one.
        """
        back = torch.linalg.inv(warps.double()).to(regions[0])
        places = [
            within(warp_boxes(boxes, warp), size) for boxes, warp, size in zip(regions, back, self.sizes, strict=True)
        ]
        return self.network.regions(self.maps, places, self.batch.images).logits.softmax(-1)[:, 0]


def within(boxes: Tensor, size: Tensor) -> Tensor:
    """``Float[n 4]`` cut at the border of an image of a height and width (``Long[2]``)."""
    return torch.minimum(boxes.clamp(min=0), size[[1, 0, 1, 0]].to(boxes))
