"""What RetinaNet, FCOS, ATSS and DDOD share: anchors on all maps of a pyramid, sigmoid posteriors, one suppression.

Axes: B images of a batch, P anchors (or points) over all maps, A anchors a cell, K classes, D detections of the batch,
F features, V views.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, TypeAlias, final

import torch
from torch import Tensor, nn

from alpl.boxes.anchors import anchors_of
from alpl.boxes.objects import Objects
from alpl.data.batch import Batch
from alpl.errors import ConfigError
from alpl.losses.positives import Losses, Positives
from alpl.modules.base import AbstractModule
from alpl.modules.box_features import FEATURE_SAMPLES, FeatureSample, box_averages, box_centers, sampled
from alpl.modules.dense_output import (
    DenseOutput,
    Found,
    Scoring,
    cells_of_centers,
    cells_of_sources,
    find,
    mirrored_anchors,
)
from alpl.modules.detector import AbstractDetectorEnsemble, Suppression
from alpl.modules.dropout import dropouts
from alpl.modules.padding import content_average, pooled_maps, pyramid_average
from alpl.modules.supervised import AbstractSupervisedDetector
from alpl.networks.dense_heads import MatchedLosses
from alpl.predictions import Need, Predictions

FeatureSource: TypeAlias = Literal["pyramid", "class_tower"]
ImageFeatureSource: TypeAlias = Literal["trunk", "pyramid", "level"]


class AbstractDenseDetector(AbstractSupervisedDetector):
    """Base of dense detectors; their networks are torchvision's, less its ``transform``: batches come as tensors.

    Args:
        network: a RetinaNet or FCOS of torchvision, whose backbone is an ``AbstractFpn``; or what has the same
            ``backbone``, ``head`` and ``anchor_generator``.
        num_classes: K.
        feature_level: of the features of detections: null for the map that a detection comes from, at its cell; or the
            number of a map (0 is the finest), at the cell that the center of the detection's box is in.
        feature_source: "pyramid", the maps that the heads see, or "class_tower", what the class logits are computed
            from; both of the pyramid's width, F.
        feature_sample: where on that map: "cell", as ``feature_level`` says; "center", bilinearly between the cells at
            the center of the detection's box; "box", the average over the box (RoI align; NORIS sec. 3.3);
            or "as_released", the center as PPAL's code has it, which takes height for
            width, see :func:`alpl.modules.box_features.box_centers`.
        image_feature_source: of the features of images: "trunk", the average of the backbone's last map (C5), or
            "pyramid", those of all maps that the heads see, the finest first (PPAL Table 1, "Global" and "FPN"), or
            "level", that of the map that ``feature_level`` and ``feature_source`` name (NORIS sec. 3.3).
        options: loss_prediction, which looks at all maps of the pyramid, see
            :class:`alpl.modules.supervised.AbstractSupervisedDetector`; num_passes and others, see
            :class:`alpl.modules.detector.AbstractTrainableDetector`.

    Raises:
        ConfigError: a number is out of range, or a source is not one of these.
    """

    tells_positives = True
    scoring: ClassVar[Scoring] = "root"
    """How scores come from probability and confidence, see :class:`alpl.modules.dense_output.DenseOutput`."""

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        *,
        feature_level: int | None = None,
        feature_source: FeatureSource = "pyramid",
        feature_sample: FeatureSample = "cell",
        image_feature_source: ImageFeatureSource = "trunk",
        **options: Any,
    ) -> None:
        body: Any = network.backbone
        num_maps: int = body.num_maps
        super().__init__(num_classes=num_classes, map_channels=(body.out_channels,) * num_maps, **options)
        if feature_source not in ("pyramid", "class_tower"):
            raise ConfigError(f"model.feature_source must be pyramid or class_tower, got {feature_source!r}")
        if feature_sample not in FEATURE_SAMPLES:
            raise ConfigError(
                f"model.feature_sample must be one of {', '.join(FEATURE_SAMPLES)}, got {feature_sample!r}"
            )
        if image_feature_source not in ("trunk", "pyramid", "level"):
            raise ConfigError(
                f"model.image_feature_source must be trunk, pyramid or level, got {image_feature_source!r}"
            )
        if image_feature_source == "level" and feature_level is None:
            raise ConfigError("model.feature_level must be a number where image_feature_source=level, got null")
        if feature_level is not None and not 0 <= feature_level < num_maps:
            raise ConfigError(f"model.feature_level must be null or 0 to {num_maps - 1}, got {feature_level}")
        self.network: Any = network
        self.feature_level, self.feature_source = feature_level, feature_source
        self.feature_sample: FeatureSample = feature_sample
        self.image_feature_source = image_feature_source
        self.image_layers = num_maps if image_feature_source == "pyramid" else 1

    @property
    def provides(self) -> Need:
        """Posterior, boxes, features of detections and images, and flip; views where the heads have dropout.

        Predicted losses where there is a module for them.
        """
        views = Need.VIEWS if dropouts(self.network.head) else Need.NOTHING
        always = Need.POSTERIOR | Need.BOXES | Need.FEATURES | Need.IMAGE_FEATURES | Need.FLIP | Need.AUGMENTED
        return always | views | self.predicts_losses

    @classmethod
    def ensemble(cls, members: Sequence[AbstractModule]) -> DenseEnsemble:
        """Ask trained members together."""
        return DenseEnsemble([member for member in members if isinstance(member, AbstractDenseDetector)])

    @abstractmethod
    def decode(self, deltas: Tensor, anchors: Tensor) -> Tensor:
        """``Float[n 4]`` deltas and anchors -> ``Float[n 4]`` xyxy."""

    @abstractmethod
    def compute_losses(self, output: DenseOutput, targets: list[dict[str, Tensor]]) -> MatchedLosses:
        """Match and give the losses under the network's names."""

    @final
    def losses_of(self, images: Tensor, sizes: Tensor, objects: Sequence[Objects]) -> Losses:
        """See the base class; padding counts as background, as in torchvision.

        Positives are the anchors with an object, low-quality matches included, by the class's own probability
        (centerness, or a predicted IoU, has no part in it).
        """
        targets = [{"boxes": each.boxes, "labels": each.labels} for each in objects]
        maps = self.network.backbone(images)
        output = self.output_of(maps, images)
        parts, per_image, matched = self.compute_losses(output, targets)
        positives = self._positives(output, objects, matched) if self.wants_positives else None
        return Losses(parts, per_image, positives, list(maps.values()))

    @torch.no_grad()
    def _positives(self, output: DenseOutput, objects: Sequence[Objects], matched: Sequence[Tensor]) -> Positives:
        row, anchor = (torch.stack(list(matched)) >= 0).nonzero(as_tuple=True)
        pairs = [(each, match[match >= 0]) for each, match in zip(objects, matched, strict=True)]
        labels = torch.cat([each.labels[match] for each, match in pairs])
        boxes = self.decode(output.deltas[row, anchor], output.anchors[anchor])
        probs = output.logits[row, anchor, labels].sigmoid()
        return Positives.of_boxes(row, labels, probs, boxes, torch.cat([each.boxes[match] for each, match in pairs]))

    @final
    def output_of(self, maps: OrderedDict[str, Tensor], images: Tensor) -> DenseOutput:
        """Ask the heads, in float32 whatever the precision of the pass."""
        features = list(maps.values())
        found = self.network.head(features)
        return DenseOutput(
            found["cls_logits"].float(),
            found["bbox_regression"].float(),
            found["confidence"].float() if "confidence" in found else None,
            anchors_of(self.network.anchor_generator, features, images),
            tuple((map_.shape[2], map_.shape[3]) for map_ in features),
            self.scoring,
        )

    @final
    def detect(self, batch: Batch, suppression: Suppression, needs: Need) -> Predictions:
        r"""See the base class.

        ``suppression.pre_nms_top_k`` is of a map. The posterior is that of K independent classes; where the detector
        has a confidence, centerness say, ``scores`` is :math:`\sqrt{p_c \cdot centerness}` or the product alone, see
        :attr:`scoring`, and the posterior is without it. Image features are averages over the image without its
        padding. The partner of a
        detection in the mirrored image is that of its anchor, see :func:`alpl.modules.dense_output.mirrored_anchors`.
        """
        trunk = self.network.backbone.trunk(batch.images)
        maps = self.network.backbone.pyramid(trunk)
        output = self.output_of(maps, batch.images)
        found = find([output], self.decode, batch, suppression)
        at, views = (found.detections.row, found.detections.sources), None
        if Need.FLIP in needs:
            mirrored = self.network.head.class_logits(list(self.network.backbone(batch.images.flip(-1)).values()))
            partner = mirrored_anchors(output, batch.images.shape[-1])[at[1]]
            views = torch.stack([found.probs, mirrored[at[0], partner].float().sigmoid()])
        elif Need.VIEWS in needs:
            heads = self.network.head
            views = self.dropout_passes(lambda: heads.class_logits(list(maps.values()))[at], heads).float().sigmoid()
        return found.predictions(
            batch,
            needs,
            views=views,
            features=self._features(list(maps.values()), output, found, batch) if Need.FEATURES in needs else None,
            image_features=self.image_features(trunk, maps, batch) if Need.IMAGE_FEATURES in needs else None,
            predicted_loss=self.predicted_loss(list(maps.values()), batch, needs),
        )

    @final
    def image_features(self, trunk: OrderedDict[str, Tensor], maps: OrderedDict[str, Tensor], batch: Batch) -> Tensor:
        """``Float[B F']`` of the maps of backbone and pyramid."""
        if self.image_feature_source == "pyramid":
            return pyramid_average(list(maps.values()), batch)
        if self.image_feature_source == "level":
            assert self.feature_level is not None, "the constructor asks for it"
            return pooled_maps([self._shown(list(maps.values())[self.feature_level])], batch)[0].flatten(1)
        return content_average(trunk, batch)

    def _shown(self, map_: Tensor) -> Tensor:
        """Give what features are read from."""
        shown: Tensor = map_ if self.feature_source == "pyramid" else self.network.head.class_tower(map_)
        return shown

    def _features(self, maps: Sequence[Tensor], output: DenseOutput, found: Found, batch: Batch) -> Tensor:
        """``Float[D F]``."""
        if self.feature_level is None:
            level, cell = cells_of_sources(output, found.detections.sources)
        else:
            level = torch.full_like(found.detections.row, self.feature_level)
            cell = cells_of_centers(found.input_boxes, output.cells[self.feature_level], batch.images)
        features = maps[0].new_zeros(len(cell), maps[0].shape[1])
        row = found.detections.row
        centers = None
        if self.feature_sample in ("center", "as_released"):
            exchanged = self.feature_sample == "as_released"
            centers = box_centers(found.input_boxes, row, batch, exchanged=exchanged)
        for number, map_ in enumerate(maps):
            chosen = (level == number).nonzero().flatten()
            if len(chosen):
                shown = self._shown(map_)
                if self.feature_sample == "box":
                    features[chosen] = box_averages(shown, row[chosen], found.input_boxes[chosen], batch).to(features)
                elif centers is None:
                    features[chosen] = shown.flatten(2)[row[chosen], :, cell[chosen]]
                else:
                    features[chosen] = sampled(shown, row[chosen], centers[chosen]).to(features)
        return features.float()


@final
class DenseEnsemble(AbstractDetectorEnsemble[AbstractDenseDetector]):
    """Several trained detectors with the same anchors: means of posterior, confidence and deltas of each anchor.

    Views are the members, aligned by their anchor.

    Args:
        members: at least one.
    """

    def detect(self, batch: Batch, suppression: Suppression, needs: Need) -> Predictions:
        """See the base class; image features are those of the first member."""
        members = self.detectors
        trunk = members[0].network.backbone.trunk(batch.images)
        maps = members[0].network.backbone.pyramid(trunk)
        outputs = [members[0].output_of(maps, batch.images)]
        outputs += [each.output_of(each.network.backbone(batch.images), batch.images) for each in members[1:]]
        found = find(outputs, members[0].decode, batch, suppression)
        views = torch.stack([output.probs_of(found.detections) for output in outputs])
        return found.predictions(
            batch,
            needs,
            views=views if Need.VIEWS in needs else None,
            image_features=members[0].image_features(trunk, maps, batch) if Need.IMAGE_FEATURES in needs else None,
        )
