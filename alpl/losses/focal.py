"""The focal loss of dense detectors (Lin et al. 2017, "Focal loss for dense object detection").

Axes: B images, P anchors or points, K classes, each with an output of its own (sigmoid).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

BACKGROUND, IGNORED = -1, -2
"""In place of a class; the numbers of torchvision's matcher."""


def focal_loss(logits: Tensor, classes: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    r"""Sum the focal losses of each image's anchors.

    .. math:: FL = -\alpha_t (1 - p_t)^\gamma \log p_t

    with :math:`p_t = p, \alpha_t = \alpha` at the output of an anchor's class and :math:`p_t = 1 - p,
    \alpha_t = 1 - \alpha` at all others (their Eq. 5).

    Args:
        logits: ``Float[B P K]``.
        classes: ``Long[B P]``: 0 to K - 1, or :data:`BACKGROUND`, or :data:`IGNORED`, which costs nothing.
        alpha: weight of the class against all others, in [0, 1].
        gamma: how much less what is right already counts.

    Returns:
        ``Float[B]``, not divided by anything.

    >>> focal_loss(torch.zeros(1, 2, 1), torch.tensor([[0, -2]]), gamma=0.0)  # 0.25 ln 2
    tensor([0.1733])
    """
    targets = torch.zeros_like(logits)
    row, anchor = (classes >= 0).nonzero(as_tuple=True)
    targets[row, anchor, classes[row, anchor]] = 1.0
    losses: Tensor = sigmoid_focal_loss(logits, targets, alpha=alpha, gamma=gamma)
    return (losses * (classes != IGNORED)[..., None]).sum((1, 2))
