"""Who makes pseudo-labels of images: the most certain ones, or those below a threshold (thesis sec. 3.5, CEAL)."""

from __future__ import annotations

import math
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor

from alpl.acquisition.base import Context
from alpl.acquisition.dispersion import label_dispersion
from alpl.acquisition.pseudo_labelers import AbstractPseudoLabeler
from alpl.errors import ConfigError
from alpl.labeling.pseudo_labels import ImagePseudoLabels
from alpl.labeling.schedule import Amount, num_images_of
from alpl.pool import EXCLUDED
from alpl.predictions import Need

_ANY_NUMBER = 10**12  # of images: no int exceeds it


@final
class MostCertain(AbstractPseudoLabeler):
    """The images that the model is most certain of, with the class that it gives them (thesis sec. 3.5).

    Args:
        amount: of the images that take part: an int, a fraction or a percentage; the thesis has 10 % and 25 %. Where
            fewer are unlabeled, all of them.
        by: the images of lowest ``dispersion`` (the thesis's), or of lowest ``entropy``; ties by a seeded draw.
        label: the class of the ``last`` epoch, or the ``modal`` one of all epochs.

    Raises:
        ConfigError: the amount is none, or an option is unknown.
    """

    def __init__(
        self,
        amount: Amount,
        by: Literal["dispersion", "entropy"] = "dispersion",
        label: Literal["last", "modal"] = "last",
    ) -> None:
        num_images_of(amount, _ANY_NUMBER, "pseudo_labels.amount")  # refuses what is no amount, before any training
        if by not in ("dispersion", "entropy"):
            raise ConfigError(f"pseudo_labels.by must be dispersion or entropy, got {by!r}")
        if label not in ("last", "modal"):
            raise ConfigError(f"pseudo_labels.label must be last or modal, got {label!r}")
        self.amount, self.by, self.kind = amount, by, label
        self.needs = Need.NOTHING
        if by == "dispersion" or label == "modal":
            self.needs |= Need.HISTORY
        if by == "entropy":
            self.needs |= Need.POSTERIOR

    def label(self, context: Context) -> ImagePseudoLabels:
        """See the base class."""
        uncertainty = self._uncertainty(context)
        taking_part = int((context.pool.cycle != EXCLUDED).sum())
        whole = taking_part if not isinstance(self.amount, int) else _ANY_NUMBER
        number = min(num_images_of(self.amount, whole, "pseudo_labels.amount"), len(uncertainty))
        shuffled = torch.randperm(len(uncertainty), generator=context.generator("ties"))
        chosen = shuffled[torch.argsort(uncertainty[shuffled], stable=True)][:number].sort().values
        return ImagePseudoLabels(
            context.pool.unlabeled[chosen], self._labels(context, chosen), -uncertainty[chosen].double()
        )

    def _uncertainty(self, context: Context) -> Tensor:
        if self.by == "entropy":
            return context.posterior.entropy().double().cpu()
        assert context.history is not None, "Need.HISTORY was declared"
        return label_dispersion(context.history)

    def _labels(self, context: Context, chosen: Tensor) -> Tensor:
        if self.needs & Need.HISTORY:
            assert context.history is not None, "Need.HISTORY was declared"
            history = context.history[:, chosen.numpy()]
            return modal_label(history) if self.kind == "modal" else torch.from_numpy(history[-1].astype(np.int64))
        return context.posterior.probs[chosen].argmax(-1).cpu()


@final
class ConfidentImages(AbstractPseudoLabeler):
    r"""The images whose entropy is below a threshold that falls with the cycles (CEAL, Wang et al. 2017).

    In cycle t: entropy < :math:`\delta - \text{decay} \cdot t`.

    Args:
        delta: :math:`\delta_0`, in nats; CEAL has 0.005.
        decay: CEAL has 0.00033.

    Raises:
        ConfigError: a value is not finite, or negative.
    """

    needs = Need.POSTERIOR

    def __init__(self, delta: float = 0.005, decay: float = 0.00033) -> None:
        for name, value in (("delta", delta), ("decay", decay)):
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"pseudo_labels.{name} must be finite and >= 0, got {value}")
        self.delta, self.decay = delta, decay

    def label(self, context: Context) -> ImagePseudoLabels:
        """See the base class."""
        cycle = max(int(context.pool.cycle.max()), 0)
        entropy = context.posterior.entropy().double().cpu()
        chosen = (entropy < self.delta - self.decay * cycle).nonzero().flatten()
        labels = context.posterior.probs[chosen].argmax(-1).cpu()
        return ImagePseudoLabels(context.pool.unlabeled[chosen], labels, -entropy[chosen])


def modal_label(history: np.ndarray) -> Tensor:
    """``Long[U]``: the most frequent label of each image over the epochs; of equally frequent ones the lowest.

    Args:
        history: ``Int[E U]`` with at least one epoch.

    >>> modal_label(np.array([[0, 1], [0, 2], [1, 2]]))
    tensor([0, 2])
    """
    labels = torch.from_numpy(np.asarray(history, dtype=np.int64)).T
    counts = torch.zeros(labels.shape[0], int(labels.max()) + 1 if labels.numel() else 1, dtype=torch.int32)
    counts.scatter_add_(1, labels, torch.ones_like(labels, dtype=torch.int32))
    return counts.argmax(1)
