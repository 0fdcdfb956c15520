"""Faster R-CNN: training as torchvision has it, and detections that keep their proposal and whole posterior.

Axes: B images of a batch, R proposals of all of them, C = K + 1 outputs (0 is the background), D detections of the
batch, F features, V views.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, final

import torch
from torch import Tensor

from alpl.boxes.objects import Objects
from alpl.config.partial_parts import complete
from alpl.data.batch import Batch
from alpl.errors import ConfigError
from alpl.losses.positives import Losses
from alpl.modules.base import AbstractModule
from alpl.modules.detector import AbstractDetectorEnsemble, Suppression
from alpl.modules.dropout import dropouts
from alpl.modules.padding import content_average, input_sizes
from alpl.modules.region_detections import ChosenProposals, RegionDetections
from alpl.modules.supervised import AbstractSupervisedDetector
from alpl.networks.detector_weights import load_detector
from alpl.networks.faster_rcnn import FasterRcnn, RegionOutput
from alpl.predictions import Need, Predictions

RegionFeatures: TypeAlias = Literal["head", "roi", "detection"]


@final
class FasterRcnnDetector(AbstractSupervisedDetector):
    """Faster R-CNN; a detection's source is its proposal.

    Args:
        network: makes the network from ``num_outputs``.
        num_classes: K.
        features: of detections: "head", what the predictor sees (F = ``head_width``), or "roi", the average of the
            region that is read from the pyramid (F is its width); both of the proposal, before its box is refined.
            "detection": as "roi", of the detected box (NORIS sec. 3.3).
        weights: what the network starts from, all but its last layer; see
            :func:`alpl.networks.detector_weights.load_detector`. None for what ``network`` gives.
        options: loss_prediction, which looks at all maps of the pyramid, see
            :class:`alpl.modules.supervised.AbstractSupervisedDetector`; num_passes and others, see
            :class:`alpl.modules.detector.AbstractTrainableDetector`.

    Raises:
        ConfigError: a number is out of range, or ``features`` is not one of these; or ``weights`` does not fit.
    """

    tells_positives = True
    loss_names = {  # noqa: RUF012
        "loss_objectness": "objectness_loss",
        "loss_rpn_box_reg": "proposal_localization_loss",
        "loss_classifier": "classification_loss",
        "loss_box_reg": "localization_loss",
    }

    def __init__(
        self,
        network: Callable[..., FasterRcnn],
        num_classes: int,
        *,
        features: RegionFeatures = "head",
        weights: str | None = None,
        **options: Any,
    ) -> None:
        made = complete(network, "model.network", num_outputs=num_classes + 1)
        channels = (made.backbone.out_channels,) * made.backbone.num_maps
        super().__init__(num_classes=num_classes, map_channels=channels, **options)
        if features not in ("head", "roi", "detection"):
            raise ConfigError(f"model.features must be head, roi or detection, got {features!r}")
        self.network = made
        self.features = features
        if weights is not None:
            load_detector(made, weights)

    @property
    def provides(self) -> Need:
        """Posterior, boxes, features of detections and images, and flip.

        Views where the second stage has dropout, uncertainties where its heads give them, predicted losses where there
        is a module for them.
        """
        views = Need.VIEWS if dropouts(self.network.roi_heads) else Need.NOTHING
        uncertainties = Need.UNCERTAINTIES if self.network.heads.give_uncertainties else Need.NOTHING
        always = Need.POSTERIOR | Need.BOXES | Need.FEATURES | Need.IMAGE_FEATURES | Need.FLIP | Need.AUGMENTED
        return always | views | uncertainties | self.predicts_losses

    @classmethod
    def ensemble(cls, members: Sequence[AbstractModule]) -> FasterRcnnEnsemble:
        """Ask trained members together."""
        return FasterRcnnEnsemble([member for member in members if isinstance(member, FasterRcnnDetector)])

    def losses_of(self, images: Tensor, sizes: Tensor, objects: Sequence[Objects]) -> Losses:
        """See the base class; positives are the second stage's sampled proposals with an object."""
        targets = [{"boxes": each.boxes, "labels": each.labels + 1} for each in objects]
        tells = self.wants_positives, self.loss_prediction is not None
        return self.network.losses(images, pairs_of(sizes), targets, tell_positives=tells[0], tell_images=tells[1])

    def detect(self, batch: Batch, suppression: Suppression, needs: Need) -> Predictions:
        """See the base class, and :meth:`alpl.modules.region_detections.RegionDetections.find`.

        Image features are the average of the backbone's last map (C5) over the image without its padding. For views
        the second stage is asked again at the proposals of the detections, with dropout on; for the flip at their
        mirror images in the mirrored input.
        """
        trunk = self.network.backbone.trunk(batch.images)
        maps = self.network.backbone.pyramid(trunk)
        proposals = self.network.proposals(maps, batch.images, sizes_of(batch))
        output = self.network.regions(maps, proposals, batch.images)
        probs = output.logits.softmax(-1)
        found = RegionDetections.find(probs, output.deltas, proposals, self.network, batch, suppression)
        chosen = ChosenProposals.of(found, proposals)
        views = None
        if Need.FLIP in needs:
            views = self._flip_views(batch, probs, chosen)
        elif Need.VIEWS in needs:
            hidden = output.hidden[chosen.places]
            views = self.dropout_passes(lambda: self.network.logits(hidden), self.network.roi_heads).softmax(-1)
            views = views[:, chosen.of_detections]
        return found.predictions(
            batch,
            needs,
            views=views,
            features=self._features(maps, batch, output, chosen, found) if Need.FEATURES in needs else None,
            image_features=content_average(trunk, batch) if Need.IMAGE_FEATURES in needs else None,
            predicted_loss=self.predicted_loss(list(maps.values()), batch, needs),
            uncertainties=_uncertainties(output, found) if Need.UNCERTAINTIES in needs else None,
        )

    def _flip_views(self, batch: Batch, probs: Tensor, chosen: ChosenProposals) -> Tensor:
        """``Float[2 D C]``."""
        flipped = batch.images.flip(-1)
        maps = self.network.backbone(flipped)
        mirrored = self.network.regions(maps, chosen.mirrored(flipped.shape[-1]), flipped).logits.softmax(-1)
        return torch.stack([probs[chosen.places], mirrored])[:, chosen.of_detections]

    def _features(
        self,
        maps: OrderedDict[str, Tensor],
        batch: Batch,
        output: RegionOutput,
        chosen: ChosenProposals,
        found: RegionDetections,
    ) -> Tensor:
        """``Float[D F]``."""
        if self.features == "detection":
            counts = torch.bincount(found.detections.row, minlength=len(batch.images)).tolist()
            regions = self.network.pool(maps, list(found.input_boxes.split(counts)), batch.images)
            return regions.mean((2, 3)).float()
        if self.features == "head":
            features = self.network.features(output.hidden[chosen.places])
        else:
            features = self.network.pool(maps, chosen.boxes, batch.images).mean((2, 3))
        return features[chosen.of_detections].float()


@final
class FasterRcnnEnsemble(AbstractDetectorEnsemble[FasterRcnnDetector]):
    """Several trained detectors: the first one's proposals, and the mean of what all say about each of them.

    Every member reads its own maps there; posterior and class-specific deltas are averaged. Views are the members.

    Args:
        members: at least one.
    """

    def detect(self, batch: Batch, suppression: Suppression, needs: Need) -> Predictions:
        """See the base class; image features are those of the first member."""
        networks = [member.network for member in self.detectors]
        first = networks[0]
        trunk = first.backbone.trunk(batch.images)
        maps = first.backbone.pyramid(trunk)
        proposals = first.proposals(maps, batch.images, sizes_of(batch))
        outputs = [first.regions(maps, proposals, batch.images)]
        outputs += [each.regions(each.backbone(batch.images), proposals, batch.images) for each in networks[1:]]
        views = torch.stack([output.logits for output in outputs]).softmax(-1)
        deltas = torch.stack([output.deltas for output in outputs]).mean(0)
        found = RegionDetections.find(views.mean(0), deltas, proposals, first, batch, suppression)
        return found.predictions(
            batch,
            needs,
            views=views[:, found.detections.sources] if Need.VIEWS in needs else None,
            image_features=content_average(trunk, batch) if Need.IMAGE_FEATURES in needs else None,
        )


def _uncertainties(output: RegionOutput, found: RegionDetections) -> Tensor:
    """``Float[D 4]``, of the detections' proposals and classes."""
    sources, labels = found.detections.sources, found.detections.labels
    return output.heads.uncertainties(output.classes[sources], output.boxes[sources, labels + 1], labels)


def sizes_of(batch: Batch) -> list[tuple[int, int]]:
    """Height and width of each image within the padded input."""
    return pairs_of(input_sizes(batch))


def pairs_of(sizes: Tensor) -> list[tuple[int, int]]:
    """``Long[B 2]`` as torchvision wants it."""
    return [(height, width) for height, width in sizes.tolist()]
