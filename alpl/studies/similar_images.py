"""Which images a similarity takes for alike, and whether they show the same classes (PPAL Fig. 8 and 9).

Axes: N images, A anchors, n images that are retrieved for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

from alpl.selection.image_similarity import jaccard_similarity

_ROWS = 1024  # anchors that are sorted at a time


@final
class Retrieved(NamedTuple):
    """What a similarity retrieves for each anchor, the most similar first."""

    images: Tensor
    """``Long[A n]``, positions in N."""
    similarity: Tensor
    """``Float[A n]``."""


def retrieve(similarity: Tensor, anchors: Tensor, number: int) -> Retrieved:
    """Give the most similar other images of each anchor; of equal ones the first in the order of the images.

    Args:
        similarity: ``Float[N N]``.
        anchors: ``Long[A]``, positions in N.
        number: of images; all others where there are less.

    Raises:
        ValueError: ``number`` is below 1, or there is no other image.

    >>> similar = torch.tensor([[2.0, 0.5, 0.5, 1.0], [0.5, 2.0, 0.0, 0.0], [0.5, 0.0, 2.0, 0.0], [1.0, 0.0, 0.0, 2.0]])
    >>> retrieve(similar, torch.tensor([0, 1]), 2).images
    tensor([[3, 1],
            [0, 2]])
    """
    if number < 1 or len(similarity) < 2:
        raise ValueError(f"number must be >= 1 of at least two images, got {number} of {len(similarity)}")
    kept = min(number, len(similarity) - 1)
    parts = []
    for some in anchors.split(_ROWS):
        rows = similarity[some].clone()
        rows[torch.arange(len(some)), some] = -torch.inf  # no anchor retrieves itself
        values, images = rows.sort(dim=1, descending=True, stable=True)
        parts.append(Retrieved(images[:, :kept], values[:, :kept]))
    return Retrieved(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def common_classes(labels: Sequence[Tensor], anchors: Tensor, images: Tensor) -> Tensor:
    r"""Mean overlap of an anchor's set of classes with those of the images that it retrieved.

    .. math:: \frac1n \sum_j \frac{|C_a \cap C_j|}{|C_a \cup C_j|}

    PPAL sec. 4.3. Two images without objects have equal sets: 1.

    Args:
        labels: N of ``Long[objects]``, classes of an image's objects.
        anchors: ``Long[A]``.
        images: ``Long[A n]``.

    Returns:
        ``Float[A]``.

    >>> dog, human, cat = 0, 1, 2
    >>> sets = [torch.tensor([dog, human]), torch.tensor([dog, cat, dog])]
    >>> common_classes(sets, torch.tensor([0]), torch.tensor([[1]]))
    tensor([0.3333])
    """
    counts = torch.tensor([len(each) for each in labels])
    joined = torch.cat(list(labels)) if len(labels) else torch.zeros(0, dtype=torch.long)
    overlap = jaccard_similarity(joined, torch.arange(len(labels)).repeat_interleave(counts), len(labels))
    return overlap[anchors[:, None], images].mean(1)
