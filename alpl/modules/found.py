"""What every detector's detections have in common: how they become Predictions.

Axes: B images of a batch, D detections of the batch, C outputs as trained, F features, V views.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from alpl.boxes.postprocess import Detections
from alpl.data.batch import Batch
from alpl.modules.padding import original_boxes
from alpl.predictions import Form, Need, Posterior, Predictions


@dataclass(frozen=True, eq=False)
class AbstractFound(ABC):
    """Base of the detections of a batch, with what they were chosen from.

    Args:
        detections: D of them.
    """

    form: ClassVar[Form]
    """Of posteriors and views."""

    detections: Detections

    @abstractmethod
    def posterior(self) -> Tensor:
        """``Float[D C]``."""

    @abstractmethod
    def boxes_in(self, batch: Batch) -> Tensor:
        """``Float[D 4]`` xyxy, in pixels of the original images."""

    @final
    def predictions(
        self,
        batch: Batch,
        needs: Need,
        *,
        views: Tensor | None = None,
        features: Tensor | None = None,
        image_features: Tensor | None = None,
        predicted_loss: Tensor | None = None,
        uncertainties: Tensor | None = None,
    ) -> Predictions:
        """Join with what else was computed, which is None where it is not needed.

        Args:
            batch: B images and the sizes of their originals.
            needs: whether the result has posteriors and boxes.
            views: ``Float[V D C]``.
            features: ``Float[D F]``.
            image_features: ``Float[B F']``.
            predicted_loss: ``Float[B]``.
            uncertainties: ``Float[D 4]``.
        """
        return Predictions(
            index=batch.index,
            row=self.detections.row,
            posterior=Posterior(self.posterior(), self.form) if Need.POSTERIOR in needs else None,
            labels=self.detections.labels,
            scores=self.detections.scores,
            boxes=self.boxes_in(batch) if Need.BOXES in needs else None,
            features=features,
            image_features=image_features,
            views=None if views is None else Posterior(views, self.form),
            predicted_loss=predicted_loss,
            uncertainties=uncertainties,
        )


@dataclass(frozen=True, eq=False)
class AbstractInputFound(AbstractFound):
    """Base of detections whose boxes are in pixels of the padded input.

    Args:
        probs: ``Float[D C]``.
        input_boxes: ``Float[D 4]`` xyxy.
    """

    probs: Tensor
    input_boxes: Tensor

    @final
    def posterior(self) -> Tensor:
        """See the base class."""
        return self.probs

    @final
    def boxes_in(self, batch: Batch) -> Tensor:
        """See the base class."""
        return original_boxes(self.input_boxes, self.detections.row, batch)
