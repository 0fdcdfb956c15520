"""How unevenly the classes of what is labeled are spread."""

from __future__ import annotations

from torch import Tensor

from alpl.selection.class_balance import l1_score


def balance_metrics(added: Tensor, labeled: Tensor) -> dict[str, float]:
    r"""Give the L1 scores of a cycle: 0 for equal classes, 1 for a single one (thesis Eq. 4.10).

    Args:
        added: ``Long[K]`` by class, what this cycle's model is the first to train on: the query before it, in cycle 0
            the initial set. Images, or objects in detection.
        labeled: ``Long[K]`` by class, everything that is labeled.

    Returns:
        ``l1_score`` of ``added``, as the thesis writes it (:math:`b` is the budget of a query); ``l1_score_labeled``
        of ``labeled``, as the authors' code computes it. Neither where there is nothing to count.

    >>> import torch
    >>> balance_metrics(torch.tensor([4, 0]), torch.tensor([6, 2]))
    {'l1_score': 1.0, 'l1_score_labeled': 0.5}
    """
    counted = {"l1_score": added, "l1_score_labeled": labeled}
    return {name: l1_score(counts) for name, counts in counted.items() if int(counts.sum())}
