"""The loss of SimSiam, and how one sees that it has collapsed (Chen and He 2021; thesis sec. 5.3.2).

Axes: B images, D entries of a projection.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

EPS = 1e-8  # least length that a vector is divided by


def negative_cosine(prediction: Tensor, projection: Tensor) -> Tensor:
    r"""Thesis, Eq. 5.2, mean over the batch: :math:`-\frac{p}{\|p\|_2} \cdot \frac{z}{\|z\|_2}`.

    No gradient reaches the projection, and all is computed in float32.

    Args:
        prediction: ``[B D]``, p.
        projection: ``[B D]``, z.

    >>> import torch
    >>> negative_cosine(torch.tensor([[1.0, 0.0], [2.0, 0.0]]), torch.tensor([[0.0, 3.0], [5.0, 0.0]]))
    tensor(-0.5000)
    """
    return -F.cosine_similarity(prediction.float(), projection.detach().float(), dim=-1, eps=EPS).mean()


def simsiam_loss(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Tensor:
    r"""Thesis, Eq. 5.1: :math:`D(p_1, z_2) / 2 + D(p_2, z_1) / 2`, in [-1, 1].

    Args:
        first: p and z of the first views, ``[B D]`` each.
        second: likewise of the second views.
    """
    return (negative_cosine(first[0], second[1]) + negative_cosine(second[0], first[1])) / 2


def spread(projection: Tensor) -> Tensor:
    r"""How far projections are from collapse: 1 where they lie all around the sphere, 0 where all are the same.

    The standard deviation over the batch of each entry of :math:`z / \|z\|_2`, mean over the entries, times
    :math:`\sqrt D` (Chen and He 2021, sec. 4.1, where it is shown beside :math:`1 / \sqrt D`).

    Args:
        projection: ``[B D]``, z; without a gradient.
    """
    unit = F.normalize(projection.detach().float(), dim=-1, eps=EPS)
    return unit.std(0, correction=0).mean() * math.sqrt(unit.shape[1])
