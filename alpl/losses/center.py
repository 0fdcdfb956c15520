"""The losses of CenterNet (Zhou et al. 2019, "Objects as points", Eq. 1 to 4).

Axes: B images, K classes, h and w cells, n objects of all images.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST = 1e-4  # of a probability and of one less it, and beside the number of objects (their released code)


def center_focal_loss(logits: Tensor, heat: Tensor) -> Tensor:
    r"""Sum the penalty-reduced focal losses of each image's cells (their Eq. 1, CornerNet's).

    .. math::
        -(1 - p)^2 \ln p \quad \text{where } t = 1, \qquad -(1 - t)^4 p^2 \ln(1 - p) \quad \text{elsewhere}

    with p in [1e-4, 1 - 1e-4], beyond which there is no gradient.

    Args:
        logits: ``Float[B K h w]``.
        heat: ``Float[B K h w]``, t.

    Returns:
        ``Float[B]``, not divided by anything.

    >>> center_focal_loss(torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 0.5]]]]))  # (1/4 + 1/64) ln 2
    tensor([0.1841])
    """
    probs = logits.sigmoid().clamp(_LEAST, 1 - _LEAST)
    at_center = (1 - probs) ** 2 * probs.log()
    elsewhere = (1 - heat) ** 4 * probs**2 * (1 - probs).log()
    return -torch.where(heat == 1, at_center, elsewhere).flatten(1).sum(1)


def num_centers(heat: Tensor) -> Tensor:
    """``Float[B K h w]`` -> ``Float[B]``: what the focal losses are divided by, ones of the target, at least 1."""
    return _at_least_one((heat == 1).flatten(1).sum(1))


def mean_focal_loss(sums: Tensor, heat: Tensor) -> Tensor:
    """``Float[B]`` focal losses of images -> their sum over the centers of the whole batch; of none, the sum."""
    return sums.sum() / _at_least_one((heat == 1).sum())


def _at_least_one(number: Tensor) -> Tensor:
    return number.clamp(min=1).float()


def point_loss(predicted: Tensor, aimed: Tensor) -> Tensor:
    """Average absolute differences over the coordinates of all objects (their Eq. 2 and 3); 0 of none.

    Args:
        predicted: ``Float[n 2]``.
        aimed: ``Float[n 2]``.
    """
    return (predicted - aimed).abs().sum() / (2 * len(aimed) + _LEAST)


def point_losses(predicted: Tensor, aimed: Tensor, row: Tensor, num_images: int) -> Tensor:
    """``Float[B]``: :func:`point_loss` of each image by itself; ``row`` (``Long[n]``) says whose objects they are."""
    sums = predicted.new_zeros(num_images).index_add(0, row, (predicted - aimed).abs().sum(1))
    return sums / (2 * torch.bincount(row, minlength=num_images) + _LEAST)
