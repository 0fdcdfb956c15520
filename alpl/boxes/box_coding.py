"""Boxes as offsets from prior boxes, and boxes between pixels and units of the image.

Axes: P priors, B images. Letters: g a box, d a prior, t a delta.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_convert

VARIANCES = (0.1, 0.2)
"""SSD's: deltas of centers are divided by the first, deltas of sizes by the second."""


def encode(boxes_cxcywh: Tensor, priors: Tensor, variances: tuple[float, float] = VARIANCES) -> Tensor:
    r"""Give the deltas that lead from priors to boxes (Liu et al. 2016, Eq. 2, with the released variances).

    .. math::
        t_{c} = \frac{g_{c} - d_{c}}{v_0\, d_{s}}, \qquad t_{s} = \frac{\ln (g_{s} / d_{s})}{v_1}

    for center c and size s of both axes.

    Args:
        boxes_cxcywh: ``Float[... P 4]``; a box without width or height has infinite deltas.
        priors: ``Float[P 4]`` cxcywh.
        variances: :math:`v_0, v_1`.

    Returns:
        ``Float[... P 4]``.

    >>> encode(torch.tensor([[0.5, 0.5, 0.2, 0.1]]), torch.tensor([[0.4, 0.5, 0.2, 0.2]]))
    tensor([[ 5.0000,  0.0000,  0.0000, -3.4657]])
    """
    centers = (boxes_cxcywh[..., :2] - priors[..., :2]) / (variances[0] * priors[..., 2:])
    sizes = (boxes_cxcywh[..., 2:] / priors[..., 2:]).log() / variances[1]
    return torch.cat([centers, sizes], -1)


def decode(deltas: Tensor, priors: Tensor, variances: tuple[float, float] = VARIANCES) -> Tensor:
    r"""Give the boxes that deltas lead to: the inverse of :func:`encode`; nothing is clipped.

    .. math:: g_c = d_c + v_0\, t_c\, d_s, \qquad g_s = d_s\, e^{v_1 t_s}

    Args:
        deltas: ``Float[... P 4]``.
        priors: ``Float[P 4]`` cxcywh.
        variances: :math:`v_0, v_1`.

    Returns:
        ``Float[... P 4]`` cxcywh.
    """
    centers = priors[..., :2] + variances[0] * deltas[..., :2] * priors[..., 2:]
    sizes = priors[..., 2:] * (variances[1] * deltas[..., 2:]).exp()
    return torch.cat([centers, sizes], -1)


def recode(deltas: Tensor, priors: Tensor, to: Tensor, variances: tuple[float, float] = VARIANCES) -> Tensor:
    r"""Give the deltas that lead from other priors to the same boxes.

    .. math:: t'_c = \frac{d_c + v_0\, t_c\, d_s - d'_c}{v_0\, d'_s}, \qquad t'_s = t_s + \frac{\ln (d_s / d'_s)}{v_1}

    That is :func:`encode` after :func:`decode`, without the power and its logarithm: large deltas stay finite.

    Args:
        deltas: ``Float[... 4]`` from ``priors``.
        priors: ``Float[... 4]`` cxcywh.
        to: ``Float[... 4]`` cxcywh, the other ones.
        variances: :math:`v_0, v_1`.

    Returns:
        ``Float[... 4]``.

    >>> prior, other = torch.tensor([0.5, 0.5, 0.2, 0.2]), torch.tensor([0.5, 0.5, 0.1, 0.2])
    >>> recode(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), prior, other)
    tensor([[2.0000, 0.0000, 3.4657, 0.0000]])
    """
    sides = priors[..., 2:] / to[..., 2:]
    centers = deltas[..., :2] * sides + (priors[..., :2] - to[..., :2]) / (variances[0] * to[..., 2:])
    return torch.cat([centers, deltas[..., 2:] + sides.log() / variances[1]], -1)


def to_unit(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Turn pixels into units of the image.

    Args:
        boxes: ``Float[... 4]`` xyxy, pixels.
        sizes: ``[... 2]`` height and width, e.g. ``[2]`` or ``[B 1 2]``.

    Returns:
        ``Float[... 4]`` cxcywh.

    >>> to_unit(torch.tensor([10.0, 20.0, 30.0, 40.0]), torch.tensor([100, 200]))
    tensor([0.1000, 0.3000, 0.1000, 0.2000])
    """
    unit: Tensor = box_convert(boxes / _scale(sizes, boxes), "xyxy", "cxcywh")
    return unit


def to_absolute(boxes_cxcywh: Tensor, sizes: Tensor) -> Tensor:
    """Turn units of the image into pixels: the inverse of :func:`to_unit`; nothing is clipped.

    Args:
        boxes_cxcywh: ``Float[... 4]``, units.
        sizes: ``[... 2]`` height and width.

    Returns:
        ``Float[... 4]`` xyxy.
    """
    boxes: Tensor = box_convert(boxes_cxcywh, "cxcywh", "xyxy")
    return boxes * _scale(sizes, boxes)


def _scale(sizes: Tensor, like: Tensor) -> Tensor:
    """``[... 2]`` height and width -> ``[... 4]`` width, height, width, height."""
    return sizes.to(like)[..., [1, 0, 1, 0]]
