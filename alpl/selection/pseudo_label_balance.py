"""Selection that balances hard labels: what the thesis compares its class balance with (ch. 4).

Axes: N unlabeled images, C classes, b images to choose.
"""

from __future__ import annotations

import torch
from torch import Tensor


def pseudo_label_choice(utility: Tensor, labels: Tensor, targets: Tensor, budget: int) -> Tensor:
    """Take from every predicted class the share that would balance it, by utility (thesis sec. 4.4, Fig. 4.7).

    The thesis's comparison "Entropy L1 Pseudo Label": the class probabilities are replaced by hard labels. It does not
    say what happens to fractions and where a class has too few images: shares are the targets, scaled to b and rounded
    by largest remainders (ties to the first class), and what is lacking is filled with the images of highest utility.

    Args:
        utility: ``Float[N]``, higher is taken first; ties to the first image.
        labels: ``Long[N]`` predicted classes.
        targets: ``Float[C]``, see :func:`class_targets`.
        budget: b, in [0, N].

    Returns:
        ``Long[b]`` positions in N, by falling utility.

    Raises:
        ValueError: shapes do not fit, or a value is not finite or out of range.
    """
    _check(utility, labels, targets)
    if not 0 <= budget <= len(utility):
        raise ValueError(f"budget must be in [0, {len(utility)}] images, got {budget}")
    order = torch.argsort(utility, descending=True, stable=True)
    shares = _whole_shares(targets, budget)
    taken = torch.zeros(len(utility), dtype=torch.bool, device=utility.device)
    for label, share in enumerate(shares):
        own = order[labels[order] == label]
        taken[own[:share]] = True
    taken[order[~taken[order]][: budget - int(taken.sum())]] = True
    return order[taken[order]]


def _whole_shares(targets: Tensor, budget: int) -> list[int]:
    """Divide b in the proportion of the targets (evenly where all are 0), in whole numbers."""
    total = float(targets.sum())
    exact = targets.double() * (budget / total) if total else torch.full_like(targets.double(), budget / len(targets))
    exact = exact.cpu()
    whole = (exact + 1e-9).floor()
    # rounded, as shares often have the same fraction and differ by what the division left
    fractions = ((exact - whole) * 1e9).round()
    rest = torch.argsort(fractions, descending=True, stable=True)[: budget - int(whole.sum())]
    whole[rest] += 1
    return [int(share) for share in whole.tolist()]


def _check(utility: Tensor, labels: Tensor, targets: Tensor) -> None:
    if utility.ndim != 1 or labels.shape != utility.shape or targets.ndim != 1 or not len(targets):
        shapes = f"{list(utility.shape)}, {list(labels.shape)} and {list(targets.shape)}"
        raise ValueError(f"utility, labels and targets must be [N], [N] and [C] with C > 0, got {shapes}")
    if not bool(utility.isfinite().all()):
        raise ValueError("utility must be finite, got NaN or infinite values")
    if not bool((targets.isfinite() & (targets >= 0)).all()):
        raise ValueError(f"targets must be finite and >= 0, got {targets.tolist()}")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(targets):
        span = f"{int(labels.min())} to {int(labels.max())}"
        raise ValueError(f"labels must be in [0, {len(targets)}), got {span}")
