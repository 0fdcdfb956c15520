"""Similarities of images that look at no object's features: the alternatives to CCMS of PPAL Table 1.

Axes: N images, I detections, L layers, F features, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from alpl.selection.object_match import unit_vectors

_ROWS = 1024  # of a result that are finished at a time


def global_similarity(features: Tensor, num_layers: int = 1) -> Tensor:
    r"""Cosine similarity of averaged feature maps, averaged over layers (PPAL sec. 4.3).

    .. math:: S(a, b) = \frac1L \sum_l \frac{f_a^l \cdot f_b^l}{\lVert f_a^l \rVert \lVert f_b^l \rVert}

    "Global" is one layer, the backbone's last; "FPN" all layers of the feature pyramid. A vector of zeros has cosine 0
    to every other; an image has similarity 1 to itself. O(N^2 L F) time; beside the result of 4 N^2 bytes, about three
    float32 copies of the features.

    Args:
        features: ``Float[N L F]``, or ``[N L*F]`` with one layer after the other.
        num_layers: L, where the layers are not an axis.

    Returns:
        ``Float32[N N]`` in [-1, 1], symmetric.

    Raises:
        ValueError: the features have another shape, their width is no multiple of ``num_layers``, or a value is not
            finite.

    >>> global_similarity(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    tensor([[1.0000, 0.7071],
            [0.7071, 1.0000]])
    """
    if features.ndim == 2:
        if num_layers < 1 or features.shape[1] % num_layers:
            raise ValueError(
                f"num_layers must be >= 1 and divide the width of the features {features.shape[1]}, got {num_layers}"
            )
        features = features.view(len(features), num_layers, features.shape[1] // num_layers)
    if features.ndim != 3:
        raise ValueError(f"features must be Float[N L F] or [N L*F], got shape {list(features.shape)}")
    if not bool(features.isfinite().all()):
        raise ValueError("features must be finite, got NaN or infinite values")
    number, layers, width = features.shape
    unit = unit_vectors(features.reshape(-1, width)).view(number, layers * width)
    return symmetric(torch.mm(unit, unit.T).div_(layers).clamp_(-1, 1), own=1.0)


def jaccard_similarity(labels: Tensor, row: Tensor, num_images: int) -> Tensor:
    r"""Overlap of the sets of predicted classes (PPAL sec. 4.3).

    .. math:: J(a, b) = \frac{|C_a \cap C_b|}{|C_a \cup C_b|}

    Two images without detections have equal sets: 1. O(N^2 K) time; beside the result of 4 N^2 bytes, 4 N K and a few
    blocks of 1,024 rows.

    Args:
        labels: ``Long[I]`` predicted classes, >= 0.
        row: ``Long[I]`` the image of each.
        num_images: N.

    Returns:
        ``Float32[N N]`` in [0, 1], symmetric.

    Raises:
        ValueError: a label is negative, a row lies outside [0, N), or they are not of one length.

    >>> jaccard_similarity(torch.tensor([0, 1, 0, 2]), torch.tensor([0, 0, 1, 1]), 3)
    tensor([[1.0000, 0.3333, 0.0000],
            [0.3333, 1.0000, 0.0000],
            [0.0000, 0.0000, 1.0000]])
    """
    if len(labels) != len(row) or (len(labels) and int(labels.min()) < 0):
        raise ValueError(f"labels must be {len(row)} classes >= 0, got {len(labels)} from {labels.tolist()[:5]}")
    if len(row) and not 0 <= int(row.min()) <= int(row.max()) < num_images:
        raise ValueError(f"row must lie in [0, {num_images}), got {int(row.min())} to {int(row.max())}")
    num_classes = int(labels.max()) + 1 if len(labels) else 0
    present = torch.zeros(num_images, num_classes, device=row.device)
    present[row, labels] = 1.0
    sizes = present.sum(1)
    similarity = torch.mm(present, present.T)  # how many are common: whole numbers, exact
    for own, common in zip(sizes.split(_ROWS), similarity.split(_ROWS), strict=True):
        union = (own[:, None] + sizes).sub_(common)
        common.div_(union).masked_fill_(union == 0, 1.0)
    return similarity


def symmetric(square: Tensor, own: float) -> Tensor:
    """Make a matrix exactly symmetric, in place: what is above the diagonal counts; ``own`` on it."""
    for start in range(0, len(square), _ROWS):
        stop = start + _ROWS
        square[stop:, start:stop] = square[start:stop, stop:].T
        upper = square[start:stop, start:stop].triu(1)
        square[start:stop, start:stop] = upper + upper.T
    return square.fill_diagonal_(own)
