"""CenterNet (Zhou et al. 2019, "Objects as points"): a detection is a peak of a map, and nothing is suppressed.

Axes: B images of a batch, K classes, h and w cells of the last map, D detections of the batch, F features, V views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, final

import torch
from torch import Tensor

from alpl.boxes.centers import TARGET_RULES, CenterTargets, TargetRule, boxes_at, center_targets, peaks
from alpl.boxes.map_candidates import best_of_maps
from alpl.boxes.objects import Objects
from alpl.boxes.postprocess import detect_candidates
from alpl.config.partial_parts import complete
from alpl.data.batch import Batch
from alpl.errors import ConfigError
from alpl.losses.center import center_focal_loss, mean_focal_loss, num_centers, point_loss, point_losses
from alpl.losses.positives import Losses, Positives
from alpl.modules.base import AbstractModule
from alpl.modules.dense_output import Found
from alpl.modules.detection_features import RoiFeatures
from alpl.modules.detector import AbstractDetectorEnsemble, Suppression
from alpl.modules.dropout import dropouts
from alpl.modules.padding import clip, pooled_maps
from alpl.modules.supervised import AbstractSupervisedDetector
from alpl.networks.centernet import STRIDE, CenterNet, CenterOutput
from alpl.predictions import Need, Predictions

FeatureMaps: TypeAlias = Literal["upsampled", "trunk"]


class Seen(NamedTuple):
    """What is known of a batch when it has been looked at."""

    maps: list[Tensor]
    """The four maps that features are of, f1 to f4."""
    last: Tensor
    """``[B F h w]`` what the heads see."""
    output: CenterOutput
    """The heat in probabilities."""


@final
class CenterNetDetector(AbstractSupervisedDetector):
    r"""CenterNet with the losses of its paper.

    .. math:: L = L_{heat} + 0.1\, L_{size} + L_{offset}

    The posterior of a detection is that of K independent classes at its cell; its score is that of its class. Where
    its features come from: f1 to f4 of NORIS's supplement (sec. 5, Fig. 8) are drawn and not named; read here as the
    trunk's last map and what each stage of up-sampling makes of it (``feature_maps``).

    Args:
        network: makes the network from ``num_classes``.
        num_classes: K.
        features: averages one of f1 to f4 (levels 0 to 3) over a detection's box.
        feature_maps: "upsampled", f1 to f4 are C5 and the maps of strides 16, 8 and 4 behind it; "trunk", C2 to C5.
        image_features: "level", the average of the map that ``features`` reads (NORIS sec. 3.3), or "trunk", of C5.
        targets: how objects are drawn, see :func:`alpl.boxes.centers.center_targets`.
        size_weight: of the loss of sizes.
        flip_test: whether the test sees the mirrored image, too, and takes the mean of heats and sizes, as in the
            numbers of their model zoo. Acquisitions see the image alone.
        options: loss_prediction, which looks at f1 to f4, see
            :class:`alpl.modules.supervised.AbstractSupervisedDetector`; num_passes and others, see
            :class:`alpl.modules.detector.AbstractTrainableDetector`.

    Raises:
        ConfigError: a number is out of range, or a choice is not one of these.
    """

    tells_positives = True
    loss_names = {"heat": "heat_loss", "sizes": "size_loss", "offsets": "offset_loss"}  # noqa: RUF012

    def __init__(
        self,
        network: Callable[..., CenterNet],
        num_classes: int,
        *,
        features: RoiFeatures,
        feature_maps: FeatureMaps = "upsampled",
        image_features: Literal["level", "trunk"] = "level",
        targets: TargetRule = "as_written",
        size_weight: float = 0.1,
        flip_test: bool = False,
        **options: Any,
    ) -> None:
        for name, value, known in (
            ("feature_maps", feature_maps, ("upsampled", "trunk")),
            ("image_features", image_features, ("level", "trunk")),
            ("targets", targets, TARGET_RULES),
        ):
            if value not in known:
                raise ConfigError(f"model.{name} must be {' or '.join(known)}, got {value!r}")
        if not isinstance(features, RoiFeatures):
            raise ConfigError(f"model.features must be RoiFeatures (a peak has no map of its own), got {features!r}")
        if not size_weight > 0:
            raise ConfigError(f"model.size_weight must be > 0, got {size_weight}")
        made: CenterNet = complete(network, "model.network", num_classes=num_classes)
        channels = made.up_channels if feature_maps == "upsampled" else made.stage_channels
        features.check(channels)
        super().__init__(num_classes=num_classes, map_channels=channels, **options)
        self.network = made
        self.features, self.feature_maps, self.image_features = features, feature_maps, image_features
        self.targets: TargetRule = targets
        self.size_weight, self.flip_test = size_weight, flip_test

    @property
    def provides(self) -> Need:
        """Posterior, boxes, features of detections and images, and flip; views where the heat's head has dropout.

        Predicted losses where there is a module for them.
        """
        views = Need.VIEWS if dropouts(self.network.heat) else Need.NOTHING
        always = Need.POSTERIOR | Need.BOXES | Need.FEATURES | Need.IMAGE_FEATURES | Need.FLIP | Need.AUGMENTED
        return always | views | self.predicts_losses

    @classmethod
    def ensemble(cls, members: Sequence[AbstractModule]) -> CenterNetEnsemble:
        """Ask trained members together."""
        return CenterNetEnsemble([member for member in members if isinstance(member, CenterNetDetector)])

    def losses_of(self, images: Tensor, sizes: Tensor, objects: Sequence[Objects]) -> Losses:
        """See the base class; padding counts as background, and positives are the center cells of objects."""
        maps, last = self._maps(images)
        output = self.network.heads(last)
        shape = output.heat.shape[2], output.heat.shape[3]
        aims = center_targets(objects, self.num_classes, shape, STRIDE, self.targets)
        heats = center_focal_loss(output.heat, aims.heat)
        at = aims.row, aims.cells
        said, off = _at(output.sizes, *at), _at(output.offsets, *at)
        parts = {
            "heat": mean_focal_loss(heats, aims.heat),
            "sizes": self.size_weight * point_loss(said, aims.sizes),
            "offsets": point_loss(off, aims.offsets),
        }
        number = len(images)
        of_points = self.size_weight * point_losses(said, aims.sizes, aims.row, number)
        per_image = heats / num_centers(aims.heat) + of_points + point_losses(off, aims.offsets, aims.row, number)
        positives = self._positives(output, aims, said, off) if self.wants_positives else None
        return Losses(parts, per_image.detach(), positives, maps)

    @torch.no_grad()
    def _positives(self, output: CenterOutput, aims: CenterTargets, sizes: Tensor, offsets: Tensor) -> Positives:
        probs = output.heat.flatten(2)[aims.row, aims.labels, aims.cells].sigmoid()
        boxes = boxes_at(aims.cells, sizes, offsets, output.heat.shape[3], STRIDE)
        return Positives.of_boxes(aims.row, aims.labels, probs, boxes, aims.boxes)

    def look(self, images: Tensor, *, flip: bool) -> Seen:
        """Ask the network; with ``flip`` also about the mirrored images, for the mean of heats and sizes."""
        maps, last = self._maps(images)
        output = _probabilities(self.network.heads(last))
        if flip:
            heat, sizes, _ = _mirrored(_probabilities(self.network(images.flip(-1))))
            output = CenterOutput((output.heat + heat) / 2, (output.sizes + sizes) / 2, output.offsets)
        return Seen(maps, last, output)

    def detect(self, batch: Batch, suppression: Suppression, needs: Need) -> Predictions:
        """See the base class.

        ``suppression.pre_nms_top_k`` is of an image, over all classes and cells. The partner of a detection in the
        mirrored image is the mirrored cell.
        """
        seen = self.look(batch.images, flip=self.flips(suppression))
        found = find([seen.output], batch, suppression)
        at, views = (found.detections.row, found.detections.sources), None
        if Need.FLIP in needs:
            mirrored = _mirrored(_probabilities(self.network(batch.images.flip(-1))))
            views = torch.stack([_at(seen.output.heat, *at), _at(mirrored.heat, *at)])
        elif Need.VIEWS in needs:
            heat = self.network.heat
            views = self.dropout_passes(lambda: _at(heat(seen.last), *at), heat).float().sigmoid()
        return found.predictions(
            batch,
            needs,
            views=views,
            features=self._features(seen.maps, found, batch) if Need.FEATURES in needs else None,
            image_features=self.average(seen.maps, batch) if Need.IMAGE_FEATURES in needs else None,
            predicted_loss=self.predicted_loss(seen.maps, batch, needs),
        )

    def flips(self, suppression: Suppression) -> bool:
        """Whether mirrored images are seen, too: in a test, where that was asked for."""
        return self.flip_test and suppression is self.evaluation

    def average(self, maps: Sequence[Tensor], batch: Batch) -> Tensor:
        """``Float[B F']`` image features, of the maps f1 to f4; padding has no part in them."""
        number = self.features.level
        if self.image_features == "trunk":
            number = 0 if self.feature_maps == "upsampled" else len(maps) - 1
        return pooled_maps([maps[number]], batch)[0].flatten(1)

    def _maps(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Give f1 to f4, and what the heads see."""
        stages = self.network.stages(images)
        upsampled = self.network.upsampled(stages[-1])
        return (upsampled if self.feature_maps == "upsampled" else stages), upsampled[-1]

    def _features(self, maps: Sequence[Tensor], found: Found, batch: Batch) -> Tensor:
        """``Float[D F]``."""
        height, width = batch.images.shape[-2:]
        unit_boxes = found.input_boxes / found.input_boxes.new_tensor([width, height] * 2)
        at = found.detections
        return self.features(maps, unit_boxes, at.row, at.sources, [1] * len(maps))


@final
class CenterNetEnsemble(AbstractDetectorEnsemble[CenterNetDetector]):
    """Several trained detectors: means of heat, size and offset of each cell; views are the members.

    Args:
        members: at least one.
    """

    def detect(self, batch: Batch, suppression: Suppression, needs: Need) -> Predictions:
        """See the base class; image features are those of the first member."""
        first = self.detectors[0]
        seen = [member.look(batch.images, flip=first.flips(suppression)) for member in self.detectors]
        found = find([each.output for each in seen], batch, suppression)
        at = found.detections.row, found.detections.sources
        return found.predictions(
            batch,
            needs,
            views=torch.stack([_at(each.output.heat, *at) for each in seen]) if Need.VIEWS in needs else None,
            image_features=first.average(seen[0].maps, batch) if Need.IMAGE_FEATURES in needs else None,
        )


def find(outputs: Sequence[CenterOutput], batch: Batch, suppression: Suppression) -> Found:
    """Find the detections of the mean of outputs whose heat is probabilities: the best peaks of each image.

    Boxes are clipped to the image without its padding, as those of all detectors are.
    """
    heat, sizes, offsets = (torch.stack(list(parts)).mean(0) for parts in zip(*outputs, strict=True))
    scores = peaks(heat).flatten(2).transpose(1, 2)
    candidates = best_of_maps([scores], suppression.score_thresh, suppression.pre_nms_top_k)
    at = candidates.row, candidates.sources
    boxes = boxes_at(candidates.sources, _at(sizes, *at), _at(offsets, *at), heat.shape[3], STRIDE)
    boxes = clip(boxes, candidates.row, batch)
    kept = detect_candidates(candidates, boxes, suppression.nms_thresh, suppression.max_detections)
    detections = candidates.at(kept)
    return Found(detections, _at(heat, detections.row, detections.sources), boxes[kept])


def _at(map_: Tensor, row: Tensor, cells: Tensor) -> Tensor:
    """``[B C h w]``, ``Long[D]``, ``Long[D]`` -> ``[D C]``."""
    return map_.flatten(2)[row, :, cells]


def _probabilities(output: CenterOutput) -> CenterOutput:
    return output._replace(heat=output.heat.sigmoid())


def _mirrored(output: CenterOutput) -> CenterOutput:
    """Bring what was said of the mirrored images to where it is in the images themselves."""
    return CenterOutput(*(map_.flip(-1) for map_ in output))
