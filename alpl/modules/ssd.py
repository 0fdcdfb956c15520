"""SSD: MultiBox training, and predictions that keep the whole posterior of what survives suppression.

Axes: B images of a batch, P priors, C = K + 1 outputs (0 is the background), D detections of the batch, V views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from alpl.data.batch import Batch
from alpl.data.objects import Objects
from alpl.errors import ConfigError
from alpl.losses.consistency import mirror_index
from alpl.losses.multibox import multibox_loss
from alpl.modules.base import AbstractModule, no_loss
from alpl.modules.detector import AbstractDetector, AbstractTrainableDetector, Suppression
from alpl.modules.dropout import dropouts, dropped
from alpl.networks.box_coding import decode, to_absolute
from alpl.networks.priors import PriorLayout
from alpl.networks.ssd import Ssd
from alpl.postprocess import Detections, detect_batch
from alpl.predictions import Form, Need, Posterior, Predictions


@final
class SsdDetector(AbstractTrainableDetector):
    """SSD with the MultiBox loss on the labeled images of each batch.

    Args:
        network: makes the network from ``num_outputs`` and ``boxes_per_cell``.
        layout: the priors; its maps are those of the network.
        num_classes: K.
        num_passes: dropout passes where views are asked for (MC-dropout), V.
        options: metric, evaluation, acquisition, see :class:`alpl.modules.detector.AbstractDetector`; optimizer,
            scheduler, scheduler_interval, see :class:`alpl.modules.base.AbstractTrainableModule`.

    Raises:
        ConfigError: ``num_passes`` is less than 1.
    """

    def __init__(
        self,
        network: Callable[..., Ssd],
        layout: PriorLayout,
        num_classes: int,
        *,
        num_passes: int = 25,
        **options: Any,
    ) -> None:
        super().__init__(num_classes=num_classes, **options)
        if num_passes < 1:
            raise ConfigError(f"model.num_passes must be >= 1, got {num_passes}")
        self.network = network(num_outputs=num_classes + 1, boxes_per_cell=layout.boxes_per_cell)
        self.priors: Tensor
        self.register_buffer("priors", layout.priors(), persistent=False)
        sides = [(side, side) for side in layout.map_sizes]
        self.mirror: Tensor
        self.register_buffer("mirror", mirror_index(sides, layout.boxes_per_cell), persistent=False)
        self.num_passes = num_passes
        self.classification_loss = MeanMetric()  # over all batches of all processes
        self.localization_loss = MeanMetric()

    @property
    def provides(self) -> Need:
        """Posterior, boxes, image features and flip; views where the network has dropout."""
        views = Need.VIEWS if dropouts(self.network) else Need.NOTHING
        return Need.POSTERIOR | Need.BOXES | Need.IMAGE_FEATURES | Need.FLIP | views

    @classmethod
    def ensemble(cls, members: Sequence[AbstractModule]) -> SsdEnsemble:
        """Ask trained members together."""
        return SsdEnsemble([member for member in members if isinstance(member, SsdDetector)])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """MultiBox loss of the labeled images; zero where there is none."""
        self.log("train/classification_loss", self.classification_loss, on_step=False, on_epoch=True)
        self.log("train/localization_loss", self.localization_loss, on_step=False, on_epoch=True)
        images = batch.images[batch.labeled]
        if not len(images):
            return no_loss(self)
        output = self.network(images)
        targets = [unit_objects(batch.targets.of(row), images.shape[-1]) for row in range(len(images))]
        loss = multibox_loss(output.logits, output.deltas, targets, self.priors)
        self.classification_loss.update(loss.classification.detach())
        self.localization_loss.update(loss.localization.detach())
        return loss.classification + loss.localization

    def detect(self, batch: Batch, suppression: Suppression, needs: Need) -> Predictions:
        """See the base class.

        The partner of a detection in the mirrored image is that of its prior (Elezi et al., as released).
        """
        trunk = self.network.trunk(batch.images)
        output = self.network.from_trunk(trunk)
        views = None
        if Need.FLIP in needs:
            mirrored = self.network(batch.images.flip(-1)).logits[:, self.mirror]
            views = torch.stack([posterior_of(output.logits), posterior_of(mirrored)])
        elif Need.VIEWS in needs:
            with dropped(self.network):
                passes = [self.network.from_trunk(trunk).logits for _ in range(self.num_passes)]
            views = torch.stack([posterior_of(logits) for logits in passes])
        found = suppress(posterior_of(output.logits), output.deltas, self.priors, batch, suppression)
        return found.predictions(batch, needs, views, output.image_features)


@final
class SsdEnsemble(AbstractDetector):
    """Several trained detectors with the same priors: mean posterior and mean deltas of each prior, one suppression.

    Views are the members, aligned by their prior.

    Args:
        members: at least one.
    """

    def __init__(self, members: Sequence[SsdDetector]) -> None:
        first = members[0]
        super().__init__(
            num_classes=first.num_classes,
            metric=first.make_metric,
            evaluation=first.evaluation,
            acquisition=first.acquisition,
        )
        self.members = nn.ModuleList(members)
        self.priors: Tensor
        self.register_buffer("priors", first.priors, persistent=False)

    @property
    def provides(self) -> Need:
        """What a detector provides, and views."""
        return Need.POSTERIOR | Need.BOXES | Need.IMAGE_FEATURES | Need.VIEWS

    def detect(self, batch: Batch, suppression: Suppression, needs: Need) -> Predictions:
        """See the base class; image features are those of the first member."""
        outputs = [member.network(batch.images) for member in self.members]  # type: ignore[operator]
        views = torch.stack([posterior_of(output.logits) for output in outputs])
        deltas = torch.stack([output.deltas for output in outputs]).mean(0)
        found = suppress(views.mean(0), deltas, self.priors, batch, suppression)
        return found.predictions(batch, needs, views if Need.VIEWS in needs else None, outputs[0].image_features)


@final
@dataclass(frozen=True)
class Found:
    """The detections of a batch, and all posteriors and boxes that they were chosen from.

    Args:
        probs: ``Float[B P C]``.
        boxes: ``Float[B P 4]`` xyxy, pixels of the original images.
        detections: D of them.
    """

    probs: Tensor
    boxes: Tensor
    detections: Detections

    def predictions(self, batch: Batch, needs: Need, views: Tensor | None, image_features: Tensor) -> Predictions:
        """Give what ``needs`` names; ``views``: ``Float[V B P C]``."""
        at = (self.detections.row, self.detections.sources)
        return Predictions(
            index=batch.index,
            row=self.detections.row,
            posterior=Posterior(self.probs[at], Form.BACKGROUND) if Need.POSTERIOR in needs else None,
            labels=self.detections.labels,
            scores=self.detections.scores,
            boxes=self.boxes[at] if Need.BOXES in needs else None,
            image_features=image_features.float() if Need.IMAGE_FEATURES in needs else None,
            views=Posterior(views[:, at[0], at[1]], Form.BACKGROUND) if views is not None else None,
        )


def unit_objects(objects: Objects, side: int) -> Objects:
    """Turn boxes in pixels of a square input into units of it."""
    return Objects(objects.boxes / side, objects.labels, objects.difficult)


def posterior_of(logits: Tensor) -> Tensor:
    """``[B P C]`` -> probabilities in float32, whatever the precision of the pass."""
    return logits.float().softmax(-1)


def suppress(probs: Tensor, deltas: Tensor, priors: Tensor, batch: Batch, suppression: Suppression) -> Found:
    """Decode and suppress.

    Suppression works in units of the image, as the works do, so that its IoUs do not depend on the original's size.
    """
    assert batch.sizes is not None, "detection batches carry the sizes of the original images"
    boxes = decode(deltas.float(), priors)
    detections = detect_batch(
        probs[..., 1:],
        torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1),
        score_thresh=suppression.score_thresh,
        nms_thresh=suppression.nms_thresh,
        pre_nms_top_k=suppression.pre_nms_top_k,
        max_detections=suppression.max_detections,
    )
    return Found(probs, to_absolute(boxes, batch.sizes[:, None]), detections)
