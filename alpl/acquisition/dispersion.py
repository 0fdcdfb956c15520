"""Label dispersion: how often the predicted label changes during training (thesis ch. 3, Eq. 3.1 and 3.2)."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from torch import Tensor

from alpl.acquisition.base import AbstractRanking, Context
from alpl.predictions import Need


def label_dispersion(history: np.ndarray, chunk: int = 8192) -> Tensor:
    r"""Proportion of predictions that are not the modal class, over the epochs of training.

    .. math:: D(x) = 1 - \frac{f_x}{T}, \quad f_x = \sum_t 1[y^t = c^*], \quad
        c^* = \arg\max_c \sum_t 1[y^t = c]

    Thesis Eq. 3.1 and 3.2; T = E, every recorded epoch. Time O(E U), memory O(chunk (C + E)) beside the history.

    Args:
        history: ``Int[E U]`` predicted labels, >= 0; may be memory-mapped.
        chunk: images that are counted at a time.

    Returns:
        ``Float64[U]`` in [0, 1 - 1/E].

    Raises:
        ValueError: the history is not of that form, or holds no epoch.

    >>> label_dispersion(np.array([[0, 1], [0, 2], [1, 2], [0, 0]]))
    tensor([0.2500, 0.5000], dtype=torch.float64)
    """
    if history.ndim != 2 or not np.issubdtype(history.dtype, np.integer):
        raise ValueError(f"history must be Int[E U], got {history.dtype} of shape {list(history.shape)}")
    num_epochs, num_images = history.shape
    if num_epochs == 0:
        raise ValueError("history must hold at least one epoch, got 0: label dispersion needs a trained model")
    if num_images and (lowest := int(history.min())) < 0:
        raise ValueError(f"history must hold labels >= 0, got {lowest}")
    dispersion = torch.empty(num_images, dtype=torch.float64)
    for start in range(0, num_images, chunk):
        labels = torch.from_numpy(np.asarray(history[:, start : start + chunk], dtype=np.int64)).T
        counts = torch.zeros(labels.shape[0], int(labels.max()) + 1, dtype=torch.int32)
        counts.scatter_add_(1, labels, torch.ones_like(labels, dtype=torch.int32))
        dispersion[start : start + chunk] = 1 - counts.amax(1).double() / num_epochs
    return dispersion


@final
class Dispersion(AbstractRanking):
    """Images whose predicted label changed most during training; ties (dispersion is a multiple of 1/E) by a draw."""

    needs = Need.HISTORY

    def utility(self, context: Context) -> Tensor:
        """``Float[U]``, see :func:`label_dispersion`."""
        assert context.history is not None, "Need.HISTORY was declared"
        return label_dispersion(context.history)
