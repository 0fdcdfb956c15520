"""SSD: MultiBox training, with flip consistency and loss prediction where asked for, and detection.

Axes: B images of a batch, P priors, C = K + 1 outputs (0 is the background), D detections of the batch, V views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor

from alpl.boxes.box_coding import decode
from alpl.boxes.objects import Objects
from alpl.boxes.priors import PriorLayout
from alpl.config.partial_parts import complete
from alpl.data.batch import Batch
from alpl.errors import ConfigError
from alpl.losses.consistency import mirror_index
from alpl.losses.multibox import Kind, MultiboxLoss, multibox_loss
from alpl.losses.positives import Losses, Positives, Step
from alpl.modules.base import AbstractModule, no_loss
from alpl.modules.consistency import FlipConsistency, corners
from alpl.modules.detection_features import AbstractDetectionFeatures
from alpl.modules.detector import AbstractDetectorEnsemble, AbstractTrainableDetector, Suppression
from alpl.modules.dropout import dropouts
from alpl.modules.loss_ranks import rank_losses
from alpl.modules.prior_detections import PriorDetections, posterior_of
from alpl.modules.training_means import TrainingMeans
from alpl.networks.loss_prediction import LossPrediction
from alpl.networks.ssd import Ssd, SsdOutput
from alpl.predictions import Need, Predictions


@final
class SsdDetector(AbstractTrainableDetector):
    r"""SSD with the MultiBox loss on the labeled and pseudo-labeled images of each batch.

    .. math:: L = L_{conf} + L_{loc} + w\, L_{con} + \lambda\, L_{rank}

    Elezi et al. Eq. 6 with Eq. 8 for the first term, and the ranking loss of Yoo and Kweon 2019.

    Args:
        network: makes the network from ``num_outputs`` and ``boxes_per_cell``.
        layout: the priors; its maps are those of the network.
        num_classes: K.
        consistency: flip consistency over all images of a batch, unlabeled ones too; None for none.
        loss_prediction: makes a module that predicts the loss of images from ``channels``; None for none.
        features: reads one feature vector a detection; None for none.
        options: num_passes and others, see :class:`alpl.modules.detector.AbstractTrainableDetector`.

    Raises:
        ConfigError: a number is out of range, or ``features`` cannot be read from the network's maps.
    """

    tells_positives = True

    def __init__(
        self,
        network: Callable[..., Ssd],
        layout: PriorLayout,
        num_classes: int,
        *,
        consistency: FlipConsistency | None = None,
        loss_prediction: Callable[..., LossPrediction] | None = None,
        features: AbstractDetectionFeatures | None = None,
        **options: Any,
    ) -> None:
        super().__init__(num_classes=num_classes, **options)
        self.boxes_per_cell = layout.boxes_per_cell
        given = {"num_outputs": num_classes + 1, "boxes_per_cell": self.boxes_per_cell}
        self.network = complete(network, "model.network", **given)
        self.priors: Tensor
        self.register_buffer("priors", layout.priors(), persistent=False)
        sides = [(side, side) for side in layout.map_sizes]
        self.mirror: Tensor
        self.register_buffer("mirror", mirror_index(sides, self.boxes_per_cell), persistent=False)
        channels = self.network.backbone.map_channels
        self.consistency = consistency
        self.loss_prediction = None if loss_prediction is None else loss_prediction(channels=channels)
        if features is not None:
            features.check(channels)
        self.features = features
        names = ["classification_loss", "localization_loss", "pseudo_share"]
        names += ["class_consistency", "box_consistency"] if consistency else []
        names += ["ranking_loss"] if loss_prediction else []
        self.means = TrainingMeans(names)

    @property
    def provides(self) -> Need:
        """Posterior, boxes, image features and flip; others where the network, its heads or an argument give them."""
        views = Need.VIEWS if dropouts(self.network) else Need.NOTHING
        features = Need.NOTHING if self.features is None else Need.FEATURES
        loss = Need.NOTHING if self.loss_prediction is None else Need.PREDICTED_LOSS
        uncertainties = Need.UNCERTAINTIES if self.network.heads.give_uncertainties else Need.NOTHING
        always = Need.POSTERIOR | Need.BOXES | Need.IMAGE_FEATURES | Need.FLIP | Need.AUGMENTED
        return always | views | features | loss | uncertainties

    @classmethod
    def ensemble(cls, members: Sequence[AbstractModule]) -> SsdEnsemble:
        """Ask trained members together."""
        return SsdEnsemble([member for member in members if isinstance(member, SsdDetector)])

    def training_step(self, batch: Batch, batch_idx: int) -> Step:
        """Give the loss; without consistency, unlabeled images have no part in it and are not looked at.

        The images and their mirror images go through the network as one batch: batch norm then treats the two that
        are compared alike, and counts a step once.
        """
        check_fills(batch)
        self.means.log(self, but=["pseudo_share"] if batch.pseudo is None else [])  # it would be a row of NaN
        if batch.pseudo is not None:
            self.means.note("pseudo_share", batch.pseudo.float().mean())
        rows = batch.has_targets.nonzero().flatten()
        if self.consistency is None:
            return self._supervised_step(self.network(batch.images[rows]), batch) if len(rows) else self._no_step()
        both = self.network(torch.cat([batch.images, batch.images.flip(-1)]))
        number = len(batch.images)
        output, flipped = both.of(slice(number)), both.of(slice(number, None))
        loss = self.consistency_loss(self.consistency, output, flipped)
        step = self._supervised_step(output.of(rows), batch) if len(rows) else self._no_step()
        return Step(loss=loss + step["loss"], positives=step["positives"])

    def _supervised_step(self, output: SsdOutput, batch: Batch) -> Step:
        return self.supervised_losses(output, batch).step(batch.labeled[batch.has_targets])

    def _no_step(self) -> Step:
        return Step(loss=no_loss(self), positives=None)

    def supervised_losses(self, output: SsdOutput, batch: Batch) -> Losses:
        """MultiBox loss, of the network's heads, and ranking loss.

        Args:
            output: of the images that have targets, at least one.
            batch: the targets, and whose they are.
        """
        side = batch.images.shape[-1]
        targets = [unit_objects(batch.targets.of(row), side) for row in range(len(output.classes))]
        labeled = batch.labeled[batch.has_targets]
        kinds = torch.where(labeled, int(Kind.LABELED), int(Kind.PSEUDO))
        heads = output.heads
        loss = multibox_loss(
            output.classes,
            output.boxes,
            targets,
            self.priors,
            kinds,
            class_loss=heads.classes.losses,
            box_loss=heads.boxes.losses,
        )
        parts = {"classification_loss": loss.classification, "localization_loss": loss.localization}
        for name, part in parts.items():
            self.means.note(name, part)
        if self.loss_prediction is not None:
            ranking = rank_losses(self, self.loss_prediction, output.maps, loss.per_image, labeled)
            self.means.note("ranking_loss", ranking)
            parts["ranking_loss"] = self.loss_prediction.weight * ranking
        return Losses(parts, loss.per_image, self._positives(output, loss) if self.wants_positives else None)

    @torch.no_grad()
    def _positives(self, output: SsdOutput, loss: MultiboxLoss) -> Positives:
        """Give the matched priors, by the softmax over all outputs."""
        row, prior = loss.labels.nonzero(as_tuple=True)
        labels, heads = loss.labels[row, prior], output.heads
        posterior = posterior_of(heads.classes.logits(output.classes[row, prior]))
        boxes = decode(heads.boxes.deltas(output.boxes[row, prior]).float(), self.priors[prior])
        probs = posterior.gather(1, labels[:, None])[:, 0]
        return Positives.of_boxes(row, labels - 1, probs, corners(boxes), corners(loss.boxes))

    def consistency_loss(self, consistency: FlipConsistency, output: SsdOutput, flipped: SsdOutput) -> Tensor:
        """Give the weighted consistency loss; the parts are logged without their weight."""
        loss = consistency.loss(output, flipped, self.priors, self.mirror)
        self.means.note("class_consistency", loss.classes)
        self.means.note("box_consistency", loss.localization)
        return consistency.weight_in(self) * loss.total

    def detect(self, batch: Batch, suppression: Suppression, needs: Need) -> Predictions:
        """See the base class.

        The partner of a detection in the mirrored image is that of its prior (Elezi et al., as released).
        """
        check_fills(batch)
        trunk = self.network.trunk(batch.images)
        output = self.network.from_trunk(trunk)
        found = PriorDetections.find(posterior_of(output.logits), output.deltas, self.priors, suppression)
        loss = self.loss_prediction
        return found.predictions(
            batch,
            needs,
            image_features=output.image_features.float() if Need.IMAGE_FEATURES in needs else None,
            views=self._views(batch, trunk, found, needs),
            features=self._features(output, found) if Need.FEATURES in needs else None,
            predicted_loss=loss(output.maps) if loss is not None and Need.PREDICTED_LOSS in needs else None,
            uncertainties=self._uncertainties(output, found) if Need.UNCERTAINTIES in needs else None,
        )

    def _views(self, batch: Batch, trunk: tuple[Tensor, ...], found: PriorDetections, needs: Need) -> Tensor | None:
        """``Float[V D C]``, of the detections' priors alone: those of all priors would take V times their memory."""
        if Need.FLIP in needs:
            mirrored = self.network(batch.images.flip(-1)).logits
            return torch.stack([found.of(found.probs), posterior_of(found.of(mirrored, self.mirror))])
        if Need.VIEWS not in needs:
            return None
        return posterior_of(self.dropout_passes(lambda: found.of(self.network.from_trunk(trunk).logits), self.network))

    def _uncertainties(self, output: SsdOutput, found: PriorDetections) -> Tensor:
        """``Float[D 4]``, of the detections' priors and classes."""
        said = found.of(output.classes), found.of(output.boxes)
        return output.heads.uncertainties(*said, found.detections.labels)

    def _features(self, output: SsdOutput, found: PriorDetections) -> Tensor:
        assert self.features is not None, "Need.FEATURES is provided only with model.features"
        row, sources = found.detections.row, found.detections.sources
        return self.features(output.maps, found.unit_boxes, row, sources, self.boxes_per_cell)


@final
class SsdEnsemble(AbstractDetectorEnsemble[SsdDetector]):
    """Several trained detectors with the same priors: mean posterior and mean deltas of each prior, one suppression.

    Views are the members, aligned by their prior.

    Args:
        members: at least one.
    """

    def __init__(self, members: Sequence[SsdDetector]) -> None:
        super().__init__(members)
        self.priors: Tensor
        self.register_buffer("priors", members[0].priors, persistent=False)

    def detect(self, batch: Batch, suppression: Suppression, needs: Need) -> Predictions:
        """See the base class; image features are those of the first member."""
        check_fills(batch)
        outputs: list[SsdOutput] = [member.network(batch.images) for member in self.detectors]
        posteriors = torch.stack([posterior_of(output.logits) for output in outputs])
        deltas = torch.stack([output.deltas for output in outputs]).mean(0)
        found = PriorDetections.find(posteriors.mean(0), deltas, self.priors, suppression)
        views = torch.stack([found.of(posterior) for posterior in posteriors]) if Need.VIEWS in needs else None
        features = outputs[0].image_features.float() if Need.IMAGE_FEATURES in needs else None
        return found.predictions(batch, needs, image_features=features, views=views)


def check_fills(batch: Batch) -> None:
    """Refuse padded images: the priors belong to an input of one size.

    Raises:
        ConfigError: the batch holds padded images.
    """
    if batch.shapes is not None:
        raise ConfigError(
            f"data.resize and data.augment must give SSD images of one size, got {batch.shapes.tolist()} (height, "
            "width) padded to a common one"
        )


def unit_objects(objects: Objects, side: int) -> Objects:
    """Turn boxes in pixels of a square input into units of it."""
    return Objects(objects.boxes / side, objects.labels, objects.difficult)
