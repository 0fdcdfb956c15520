r"""Contextual diversity (CDAL, Agarwal et al. 2020) for k-center greedy.

Axes: N images, I instances, K foreground classes, P pairs of an image and a class that it has, n rows, m columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from alpl.predictions import Posterior, Predictions
from alpl.selection.blocks import MEMORY_LIMIT, rows_per_block
from alpl.selection.divergence_space import SMALLEST_PROBABILITY


def image_mixtures(predictions: Predictions, *, memory_limit: int = MEMORY_LIMIT // 8) -> Tensor:
    r"""``Float64[N K]``: one class distribution an image, the mean of its instances weighted with their entropy.

    .. math:: P_I = \frac{\sum_{r \in I} H(P_r) \, P_r}{\sum_{r \in I} H(P_r)}

    with the foreground posterior :math:`P_r`, scaled to sum to 1, as in the released code for detection. With one
    instance an image it is the posterior itself. Equal weights where all entropies of an image are 0; an image without
    instances has the uniform distribution, the mixture of one region of which nothing is known. O(I K) time.

    Args:
        predictions: with a posterior.
        memory_limit: bytes for a block of instances, beside the result and 24 for each image. The instances of an image
            stay together, so that it is kept where no image has more than ``memory_limit / (32 K + 64)``.

    Raises:
        ValueError: a probability is not finite or negative, or ``memory_limit`` is too small for an instance.
    """
    width = _foreground(predictions.slice(0, 0)).shape[1]
    mixtures = torch.full((predictions.num_images, width), 1 / width, dtype=torch.float64)
    for start, block in _blocks(predictions, memory_limit):
        sums, count = _mixed(_foreground(block), block.row.cpu(), block.num_images)
        some = count.nonzero().flatten()
        mixtures[some + start] = sums[some]
    return mixtures.to(predictions.row.device)


@final
class ClassContexts:
    r"""The distances of Agarwal et al. 2020, between the mixtures of each class.

    .. math:: P_I^c = \frac{\sum_{r \in I^c} H(P_r) \, P_r}{\sum_{r \in I^c} H(P_r)}, \qquad
        d(I, J) = \sum_c 1^c(I, J) \tfrac12 \big( KL(P_I^c \Vert P_J^c) + KL(P_J^c \Vert P_I^c) \big)

    where :math:`I^c` are the instances of image I with predicted class c, and :math:`1^c` tells whether both images
    have some. So images without a common class are at distance 0: made for segmentation, where most images share most
    classes. Probabilities below 1e-12 are raised to it.

    Holds 16 P K + 8 N K bytes: the mixtures, their logarithms, and where they are.

    Args:
        parts: predictions with a posterior, of all images that are to be compared: positions of images count on from
            one part to the next.
        memory_limit: bytes for a block of instances while this is made, beside what is held; see
            :func:`image_mixtures`.

    Raises:
        ValueError: a probability is not finite or negative, or ``memory_limit`` is too small for an instance.
    """

    def __init__(self, *parts: Predictions, memory_limit: int = MEMORY_LIMIT // 8) -> None:
        device, number = parts[0].row.device, sum(part.num_images for part in parts)
        pairs, mixtures = _class_mixtures(parts, memory_limit)
        num_classes = mixtures.shape[1]
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


def _class_mixtures(parts: tuple[Predictions, ...], memory_limit: int) -> tuple[Tensor, Tensor]:
    """``Long[P]``, ``Float64[P K]``: image times K plus class, ascending, and the mixture of each pair."""
    width, first = _foreground(parts[0].slice(0, 0)).shape[1], 0
    pairs, mixtures = [torch.empty(0, dtype=torch.long)], [torch.empty(0, width, dtype=torch.float64)]
    for part in parts:
        for start, block in _blocks(part, memory_limit):
            posterior = _foreground(block)
            image = block.row.cpu() + (first + start)
            own, pair = torch.unique(image * width + posterior.argmax(1), return_inverse=True)
            pairs.append(own)
            mixtures.append(_mixed(posterior, pair, len(own))[0].clamp_(min=SMALLEST_PROBABILITY))
        first += part.num_images
    return torch.cat(pairs), torch.cat(mixtures)


def _blocks(predictions: Predictions, memory_limit: int) -> Iterator[tuple[int, Predictions]]:
    """Some images after one another, whole, and the position of the first."""
    assert predictions.posterior is not None, "Need.POSTERIOR was declared"
    width = predictions.posterior.foreground.shape[1]
    # three float64 values for each class and the result's, and what is held for the instance itself
    rows = rows_per_block(memory_limit, 32 * width + 64)
    ends = torch.bincount(predictions.row.cpu(), minlength=predictions.num_images).cumsum(0)
    start = before = 0
    while start < predictions.num_images:
        stop = int(torch.searchsorted(ends, before + rows, right=True))
        stop = min(max(stop, start + 1), start + rows)  # images without instances count, too
        yield start, predictions.slice(start, stop)
        start, before = stop, int(ends[stop - 1])


def _foreground(predictions: Predictions) -> Tensor:
    """``Float64[I K]``: the posterior of the foreground classes, scaled to sum to 1.

    On the CPU, whatever the device: a GPU rounds logarithms in another way and adds up groups in no fixed order.
    """
    assert predictions.posterior is not None, "Need.POSTERIOR was declared"
    probs = predictions.posterior.checked().foreground.cpu().double()
    total = probs.sum(1, keepdim=True)
    scaled = probs / total
    scaled[total[:, 0] == 0] = 1 / probs.shape[1]
    return scaled


def _mixed(posterior: Tensor, group: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """``Float64[number K]``, ``Long[number]``: entropy-weighted means of the groups, and how many each holds."""
    weights = Posterior(posterior).entropy()
    count = torch.bincount(group, minlength=number)
    total = torch.zeros(number, dtype=torch.float64, device=group.device).index_add_(0, group, weights)
    weights = torch.where(total[group] > 0, weights / total[group], 1 / count[group].double())
    sums = torch.zeros(number, posterior.shape[1], dtype=torch.float64, device=group.device)
    return sums.index_add_(0, group, weights[:, None] * posterior), count
