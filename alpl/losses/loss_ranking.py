"""The loss of a module that predicts losses (Yoo and Kweon 2019, "Learning Loss for Active Learning").

Axes: B images of a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor


def ranking_loss(predicted: Tensor, losses: Tensor, margin: float = 1.0) -> Tensor:
    r"""Compare predicted and true losses in pairs: only their order counts, as true losses fall during the training.

    .. math::
        \frac{2}{B} \sum_{(i, j)} \max\big(0, -s_{ij} (\hat l_i - \hat l_j) + \xi\big), \qquad
        s_{ij} = +1 \text{ if } l_i > l_j, \text{ else } -1

    Yoo and Kweon 2019, Eq. 2 and 3. Pairs are images 0 and 1, 2 and 3, and so on; an odd last image is left out.

    Args:
        predicted: ``Float[B]``.
        losses: ``Float[B]`` true losses; they get no gradient.
        margin: :math:`\xi`, > 0.

    Returns:
        A scalar; 0, with a gradient of 0, where there is no pair.

    Raises:
        ValueError: the shapes are not these, or the margin is not positive.

    >>> ranking_loss(torch.tensor([2.0, 0.5, 1.0, 1.0]), torch.tensor([0.3, 0.1, 0.1, 0.3]))
    tensor(0.5000)
    """
    if predicted.ndim != 1 or predicted.shape != losses.shape:
        shapes = f"{list(predicted.shape)} and {list(losses.shape)}"
        raise ValueError(f"predicted and losses must be Float[B] each, got shapes {shapes}")
    if not margin > 0:
        raise ValueError(f"margin must be > 0, got {margin}")
    num_pairs = len(predicted) // 2
    first, second = predicted[: 2 * num_pairs].float().view(-1, 2).unbind(1)
    true_first, true_second = losses.detach()[: 2 * num_pairs].view(-1, 2).unbind(1)
    sign = torch.where(true_first > true_second, 1.0, -1.0)
    return (margin - sign * (first - second)).clamp(min=0).sum() / max(num_pairs, 1)
