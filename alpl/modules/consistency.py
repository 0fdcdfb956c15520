"""Flip consistency of an SSD as a part of its training (Elezi et al., sec. 3.1).

Axes: B images of a batch, P priors, C = K + 1 outputs (0 is the background).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from alpl.boxes.box_coding import decode
from alpl.boxes.iou_matching import match_by_iou
from alpl.errors import ConfigError
from alpl.losses.box_consistency import COMPARE, Compare
from alpl.losses.consistency import PAIRS, Consistency, Pairs, consistency_loss, consistency_ramp, foreground_of
from alpl.modules.fit_share import steps_of
from alpl.networks.ssd import SsdOutput


@final
@dataclass(frozen=True)
class FlipConsistency:
    """The consistency loss of a training, its pairs and its weight.

    Args:
        pairing: ``as_written``: a flipped prediction belongs to the original that it overlaps most (Elezi et al. Eq.
            2). ``as_released``: to that of the mirrored prior (as Jeong et al. 2019).
        pairs: ``matched``: Eq. 5 is over all of them (``as_written``). ``foreground``: over those whose original is no
            background (``as_released``).
        compare: of which numbers Eq. 4 is: ``recoded``, ``decoded`` or ``offsets`` (``as_released``), see
            :func:`alpl.losses.box_consistency.box_difference`.
        detach_targets: no gradient through the first argument of each KL of Eq. 3, which the text leaves open (as
            released; a small training was harmed without it).
        weight: of the loss beside the supervised ones (Eq. 6: 1).
        ramp: null for the same weight all the time (``as_written``); ``as_released``: it rises in the first 32/120 of
            the fit and falls in the last 20/120, see :func:`alpl.losses.consistency.consistency_ramp`.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    pairing: Literal["as_written", "as_released"] = "as_written"
    pairs: Pairs = "matched"
    compare: Compare = "recoded"
    detach_targets: bool = True
    weight: float = 1.0
    ramp: Literal["as_released"] | None = None

    def __post_init__(self) -> None:
        if self.pairing not in ("as_written", "as_released"):
            raise ConfigError(f"consistency.pairing must be 'as_written' or 'as_released', got {self.pairing!r}")
        for name, given, known in (("pairs", self.pairs, PAIRS), ("compare", self.compare, COMPARE)):
            if given not in known:
                raise ConfigError(f"consistency.{name} must be one of {', '.join(known)}, got {given!r}")
        if self.ramp not in (None, "as_released"):
            raise ConfigError(f"consistency.ramp must be null or 'as_released', got {self.ramp!r}")
        if not 0 <= self.weight < float("inf"):
            raise ConfigError(f"consistency.weight must be >= 0 and finite, got {self.weight}")

    def loss(self, output: SsdOutput, flipped: SsdOutput, priors: Tensor, mirror: Tensor) -> Consistency:
        """Compare the predictions for images and for their mirror images (Eq. 2 to 5).

        Args:
            output: of B images.
            flipped: of the same images, mirrored.
            priors: ``Float[P 4]`` cxcywh.
            mirror: ``Long[P]`` from :func:`alpl.losses.consistency.mirror_index`.

        Returns:
            Both parts without weight.
        """
        probs, deltas = output.logits.float().softmax(-1), output.deltas.float()
        probs_flipped, deltas_flipped = flipped.logits.float().softmax(-1), flipped.deltas.float()
        matched = mirror
        if self.pairing == "as_written":
            boxes, boxes_flipped = (corners(decode(each.detach(), priors)) for each in (deltas, deltas_flipped))
            wanted = foreground_of(probs) if self.pairs == "foreground" else None  # it spares the search of the others
            matched = match_by_iou(boxes, boxes_flipped, width=1.0, foreground=wanted, likely=mirror)
        return consistency_loss(
            probs,
            deltas,
            probs_flipped,
            deltas_flipped,
            matched,
            priors,
            pairs=self.pairs,
            compare=self.compare,
            detach_targets=self.detach_targets,
        )

    def weight_in(self, module: LightningModule) -> float:
        """Give the weight at the module's present step.

        Raises:
            ConfigError: there is a ramp, and the fit's length is not known.
        """
        return self.weight if self.ramp is None else self.weight * consistency_ramp(*steps_of(module))


def corners(boxes: Tensor) -> Tensor:
    """``Float[... 4]`` cxcywh -> xyxy."""
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)
