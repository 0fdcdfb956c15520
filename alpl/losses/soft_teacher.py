"""What SoftTeacher (Xu et al. 2021) makes of a teacher's opinion: weights of backgrounds, and how steady a box is.

As its released code has both. Axes: n boxes or proposals, T jitters.
"""

from __future__ import annotations

import torch
from torch import Tensor


def soft_class_loss(losses: Tensor, labels: Tensor, background: Tensor) -> Tensor:
    r"""Weighted mean of class losses; a background counts as much as the teacher takes it for one.

    .. math:: \frac{\sum_i w_i \ell_i}{\max(1, \sum_i w_i)}, \qquad w_i = 1 \text{ for objects}, r_i \text{ else}

    (The text, its Eq. 5 and 6, divides both kinds by their own sums.)

    Args:
        losses: ``Float[n]``, of the student.
        labels: ``Long[n]``, 0 for the background.
        background: ``Float[n]``, r: the teacher's probability that there is nothing.

    >>> soft_class_loss(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([3, 0, 0]), torch.tensor([0.1, 1.0, 0.5])).item()
    2.0
    """
    weights = torch.where(labels > 0, 1.0, background.to(losses))
    return (weights * losses).sum() / weights.sum().clamp(min=1.0)


def jittered(boxes: Tensor, noise: Tensor, scale: float) -> Tensor:
    """Move the corners of boxes; those that change places are put in order again.

    Args:
        boxes: ``Float[n 4]`` xyxy.
        noise: ``Float[T n 4]``, standard normal.
        scale: deviation of a corner's x in widths, of its y in heights; a side counts as one pixel at least.

    Returns:
        ``Float[T n 4]`` xyxy.

    >>> jittered(torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[[1.0, 1, -1, 0]]]), 0.1).tolist()
    [[[1.0, 2.0, 9.0, 20.0]]]
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1.0).repeat(1, 2)
    moved = boxes + noise * sides * scale
    first, second = moved[..., :2], moved[..., 2:]
    return torch.cat([torch.minimum(first, second), torch.maximum(first, second)], -1)


def box_variance(refined: Tensor) -> Tensor:
    """Say how much boxes that were found again from jittered ones differ.

    Deviation (with T - 1) of each side's place, divided by the width or height of the mean box (one pixel at least),
    averaged over the four.

    Args:
        refined: ``Float[T n 4]`` xyxy, T at least 2.

    Returns:
        ``Float[n]``.

    >>> box_variance(torch.tensor([[[0.0, 0, 10, 20]], [[2.0, 0, 10, 20]]])).item()  # 1.41 / 9 / 4
    0.03928...
    """
    mean = refined.sum(0) / len(refined)  # torch warns of deviations of nothing
    sides = (mean[:, 2:] - mean[:, :2]).clamp(min=1.0).repeat(1, 2)
    deviation = ((refined - mean).square().sum(0) / (len(refined) - 1)).sqrt()
    return (deviation / sides).mean(1)
