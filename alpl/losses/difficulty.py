"""How hard the classes are while a detector trains (PPAL, Eq. 1 to 3).

Axes: n positives of a batch, K classes.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

Absent: TypeAlias = Literal["as_written", "as_released"]

_EPS = 1e-5  # what the released code adds to a count


def training_difficulty(probs: Tensor, ious: Tensor, xi: float) -> Tensor:
    r"""Give the difficulty of predicted boxes that were trained on objects (PPAL, Eq. 1).

    .. math:: q = 1 - P^\xi \cdot IoU^{1 - \xi}

    A power of 0 is 1, also of 0: at the ends of xi one of both does not count.

    Args:
        probs: ``Float[n]``, the probability of the object's class.
        ious: ``Float[n]``, of the predicted box and the object.
        xi: in [0, 1].

    Returns:
        ``Float[n]`` in [0, 1].

    >>> training_difficulty(torch.tensor([0.5]), torch.tensor([0.8]), 0.6)
    tensor([0.3966])
    """
    return 1 - probs.pow(xi) * ious.pow(1 - xi)


def update_difficulty(
    difficulty: Tensor, momentum: Tensor, sums: Tensor, counts: Tensor, base_momentum: float, absent: Absent
) -> tuple[Tensor, Tensor]:
    r"""Take one batch into the moving averages of the classes (PPAL, Eq. 2 and 3).

    .. math::
        d_i \leftarrow m_i d_i + (1 - m_i) \frac{1}{N_i} \sum_j q_j, \qquad
        m_i \leftarrow \begin{cases} m^0 & N_i > 0 \\ m^0 m_i & N_i = 0 \end{cases}

    with the momentum before this batch in the first. Of nothing there is no mean: ``as_written`` the difficulty of a
    class that the batch does not hold stays, and its next batch counts more. ``as_released`` the average is of
    qualities :math:`1 - q`, and an absent class takes in a quality of 0, so that its difficulty drifts to 1; a class is
    present where its mean quality, with 1e-5 added to the count, is above 0.

    Args:
        difficulty: ``Float[K]``, 1 before the first batch.
        momentum: ``Float[K]``, ``base_momentum`` before the first batch.
        sums: ``Float[K]``, of the difficulties of the batch's positives.
        counts: ``Float[K]`` or ``Long[K]``, N.
        base_momentum: :math:`m^0`, in [0, 1).
        absent: what a class does that the batch does not hold.

    Returns:
        ``Float[K]`` difficulty and ``Float[K]`` momentum.
    """
    counts = counts.to(sums)
    if absent == "as_released":
        quality = (counts - sums) / (counts + _EPS)
        present = quality > 0
        new = 1 - (momentum * (1 - difficulty) + (1 - momentum) * quality)
    else:
        present = counts > 0
        mean = sums / counts.clamp(min=1)
        new = torch.where(present, momentum * difficulty + (1 - momentum) * mean, difficulty)
    return new, torch.where(present, base_momentum, base_momentum * momentum)
