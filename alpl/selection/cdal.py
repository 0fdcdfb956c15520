r"""Contextual diversity (CDAL, Agarwal et al. 2020) for k-center greedy.

Axes: N images, I instances, K foreground classes, n rows, m columns.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from alpl.predictions import Posterior, Predictions
from alpl.selection.divergence_space import SMALLEST_PROBABILITY


def image_mixtures(predictions: Predictions) -> Tensor:
    r"""``Float64[N K]``: one class distribution an image, the mean of its instances weighted with their entropy.

    .. math:: P_I = \frac{\sum_{r \in I} H(P_r) \, P_r}{\sum_{r \in I} H(P_r)}

    with the foreground posterior :math:`P_r`, scaled to sum to 1, as in the released code for detection. With one
    instance an image it is the posterior itself. Equal weights where all entropies of an image are 0; an image without
    instances has the uniform distribution, the mixture of one region of which nothing is known.

    Args:
        predictions: with a posterior.
    """
    sums, mass = _mixed(_foreground(predictions), predictions.row.cpu(), predictions.num_images)
    sums[mass == 0] = 1 / sums.shape[1]
    return sums.to(predictions.row.device)


@final
class ClassContexts:
    r"""The distances of Agarwal et al. 2020, between the mixtures of each class.

    .. math:: P_I^c = \frac{\sum_{r \in I^c} H(P_r) \, P_r}{\sum_{r \in I^c} H(P_r)}, \qquad
        d(I, J) = \sum_c 1^c(I, J) \tfrac12 \big( KL(P_I^c \Vert P_J^c) + KL(P_J^c \Vert P_I^c) \big)

    where :math:`I^c` are the instances of image I with predicted class c, and :math:`1^c` tells whether both images
    have some. So images without a common class are at distance 0: made for segmentation, where most images share most
    classes. Probabilities below 1e-12 are raised to it.

    Args:
        predictions: with a posterior, of all images that are to be compared.
    """

    def __init__(self, predictions: Predictions) -> None:
        posterior, device = _foreground(predictions), predictions.row.device
        number, num_classes = predictions.num_images, posterior.shape[1]
        # one mixture for each pair of an image and a class that it has
        pairs, pair = torch.unique(predictions.row.cpu() * num_classes + posterior.argmax(1), return_inverse=True)
        mixtures = _mixed(posterior, pair, len(pairs))[0].clamp_(min=SMALLEST_PROBABILITY)
        place = torch.full((number, num_classes), -1)
        place[pairs // num_classes, pairs % num_classes] = torch.arange(len(pairs))
        self._probs, self._logs, self._place = mixtures.to(device), mixtures.log().to(device), place.to(device)

    def __call__(self, rows: Tensor, columns: Tensor) -> Tensor:
        """``Long[n]``, ``Long[m]`` positions of images -> ``Float64[n m]``.

        Summed over the classes in order, each a sum over differences: the same for a pair in any block.
        """
        distances = torch.zeros(len(rows), len(columns), dtype=torch.float64, device=rows.device)
        for ours, theirs in zip(self._place[rows].T, self._place[columns].T, strict=True):
            some, others = (ours >= 0).nonzero().flatten(), (theirs >= 0).nonzero().flatten()
            if len(some) and len(others):
                distances[some[:, None], others] += self._divergence(ours[some], theirs[others])
        return distances

    def _divergence(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """``Float64[n m]``, class by class of the distributions, so that nothing wider is held."""
        total = torch.zeros(len(ours), len(theirs), dtype=torch.float64, device=ours.device)
        for probs, logs in zip(self._probs.T, self._logs.T, strict=True):
            total += (probs[ours, None] - probs[theirs]) * (logs[ours, None] - logs[theirs])
        return total / 2


def _foreground(predictions: Predictions) -> Tensor:
    """``Float64[I K]``: the posterior of the foreground classes, scaled to sum to 1.

    On the CPU, whatever the device: a GPU rounds logarithms in another way and adds up groups in no fixed order.
    """
    assert predictions.posterior is not None, "Need.POSTERIOR was declared"
    probs = predictions.posterior.foreground.cpu().double()
    total = probs.sum(1, keepdim=True)
    return torch.where(total > 0, probs / total, 1 / probs.shape[1])


def _mixed(posterior: Tensor, group: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """``Float64[number K]``, ``Long[number]``: entropy-weighted means of the groups, and how many each holds."""
    weights = Posterior(posterior).entropy()
    count = torch.bincount(group, minlength=number)
    total = torch.zeros(number, dtype=torch.float64, device=group.device).index_add_(0, group, weights)
    weights = torch.where(total[group] > 0, weights / total[group], 1 / count[group])
    sums = torch.zeros(number, posterior.shape[1], dtype=torch.float64, device=group.device)
    return sums.index_add_(0, group, weights[:, None] * posterior), count
