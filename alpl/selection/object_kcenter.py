"""k-center greedy over the objects of images (Core-set on object features, as NORIS compares with it).

Axes: I objects of U candidate images, M center objects, F features, b picks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from alpl.selection.blocks import MEMORY_LIMIT, rows_per_block

_NO_OBJECT, _TAKEN = -1.0, -2.0  # below any distance


def object_kcenter(
    features: Tensor,
    row: Tensor,
    num_images: int,
    centers: Tensor,
    budget: int,
    *,
    memory_limit: int = MEMORY_LIMIT // 8,
) -> tuple[Tensor, Tensor]:
    r"""Pick the image with the object that is farthest from all centers, make all its objects centers, and again.

    .. math:: u = \arg\max_u \max_{i \in u} \min_{j \in s} \lVert x_i - x_j \rVert

    where s holds the objects of labeled and chosen images: NORIS sec. 4.3, "the score ... of its most dissimilar
    object", in Core-Set; that all objects of a pick become centers is ours. First index on ties. With no center at all
    the first image with an object is picked first. Images without objects come last, in order.

    Each distance is computed by itself in float32, so it is the same whatever the blocks. O(I F) for each center.

    Args:
        features: ``Float[I F]``.
        row: ``Long[I]`` which of the U images an object is on.
        num_images: U.
        centers: ``Float[M F]`` objects of labeled images, M may be 0.
        budget: b.
        memory_limit: bytes for blocks of distances.

    Returns:
        ``Long[b]`` picks in order, and ``Float64[b]`` the distance at which each was picked; 0 for one that had none.

    Raises:
        ValueError: ``budget`` exceeds U, the widths differ, or a value is not finite.

    >>> line = torch.tensor([[1.0], [9.0], [5.0]])
    >>> object_kcenter(line, torch.tensor([0, 0, 1]), 3, torch.tensor([[0.0]]), 3)
    (tensor([0, 1, 2]), tensor([9., 4., 0.], dtype=torch.float64))
    """
    if not 0 <= budget <= num_images:
        raise ValueError(f"budget must be in [0, {num_images}] images, got {budget}")
    if features.ndim != 2 or centers.ndim != 2 or (len(centers) and features.shape[1] != centers.shape[1]):
        raise ValueError(f"features and centers must be as wide, got {list(features.shape)}, {list(centers.shape)}")
    if not (bool(features.isfinite().all()) and bool(centers.isfinite().all())):
        raise ValueError("features and centers must be finite, got NaN or infinite values")
    points = features.float()
    nearest = _nearest(points, centers.float(), torch.full((len(points),), torch.inf), memory_limit)
    taken = torch.zeros(num_images, dtype=torch.bool)
    picks, distances = [], []
    for _ in range(budget):
        values = torch.full((num_images,), _NO_OBJECT).scatter_reduce(0, row, nearest, "amax")
        values[taken] = _TAKEN
        pick = int((values == values.max()).nonzero()[0])
        picks.append(pick)
        distances.append(float(values[pick].nan_to_num(posinf=0.0).clamp(min=0)))
        taken[pick] = True
        nearest = _nearest(points, points[row == pick], nearest, memory_limit)
    return torch.tensor(picks, dtype=torch.long), torch.tensor(distances, dtype=torch.float64)


def _nearest(points: Tensor, centers: Tensor, nearest: Tensor, memory_limit: int) -> Tensor:
    """``Float[I]``: the distances to the nearest centers, where ``nearest`` are those to the ones before."""
    if not len(centers):
        return nearest
    found = nearest.clone()
    size = rows_per_block(memory_limit, 4 * len(centers))
    for start in range(0, len(points), size):
        block = torch.cdist(points[start : start + size], centers, compute_mode="donot_use_mm_for_euclid_dist")
        found[start : start + size] = found[start : start + size].minimum(block.amin(1))
    return found
