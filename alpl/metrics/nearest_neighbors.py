"""Accuracy of the nearest neighbors' classes: how well features tell classes apart, without any training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 500  # images whose similarities to the bank are held at a time


def neighbor_classes(
    features: Tensor, bank: Tensor, targets: Tensor, num_classes: int, *, k: int = 200, temperature: float = 0.1
) -> Tensor:
    r"""Let the k most similar images vote (Wu et al. 2018, sec. 3.4; SimSiam's monitor on CIFAR).

    A neighbor's vote for its class weighs :math:`\exp(s / \tau)`, s its cosine similarity.

    Args:
        features: ``Float[n F]`` of the images to be classified.
        bank: ``Float[m F]`` of images of known classes, m >= 1.
        targets: ``Long[m]`` their classes.
        num_classes: K.
        k: neighbors; all of them where there are fewer.
        temperature: tau > 0.

    Returns:
        ``Long[n]``; of equal votes the first class.
    """
    known = F.normalize(bank.float(), dim=1)
    found = []
    for part in features.float().split(CHUNK):
        similarity, nearest = (F.normalize(part, dim=1) @ known.T).topk(min(k, len(bank)), dim=1)
        votes = torch.zeros(len(part), num_classes, device=part.device)
        votes.scatter_add_(1, targets.to(part.device)[nearest], (similarity / temperature).exp())
        found.append(votes.argmax(1))
    return torch.cat(found) if found else targets[:0]
