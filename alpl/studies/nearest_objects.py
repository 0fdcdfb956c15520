"""The objects of other images whose features are nearest to an object's (NORIS Fig. 5).

Axes: I objects of N images, F features.
"""

from __future__ import annotations

import math
from typing import NamedTuple, final

import torch
from torch import Tensor


@final
class Nearest(NamedTuple):
    """n objects, the nearest first."""

    objects: Tensor
    """``Long[n]``, positions in I."""
    distance: Tensor
    """``Float[n]``."""


def nearest_objects(features: Tensor, row: Tensor, one: int, number: int) -> Nearest:
    """Give the objects nearest to one by the Euclidean distance of their features, of other images, one an image.

    A second object of an image would mostly be the same thing twice. Of equal ones the first counts.

    Args:
        features: ``Float[I F]``.
        row: ``Long[I]`` the image of each.
        one: whose neighbors, a position in I.
        number: of objects; one of every other image with an object where these are less.

    >>> features = torch.tensor([[0.0], [3.0], [1.0], [2.0], [9.0]])
    >>> nearest_objects(features, torch.tensor([0, 0, 1, 1, 2]), 0, 2)
    Nearest(objects=tensor([2, 4]), distance=tensor([1., 9.]))
    """
    distance = torch.linalg.vector_norm(features - features[one], dim=1)
    distance[row == row[one]] = math.inf
    ordered = distance.sort(stable=True)
    seen: set[int] = set()
    kept: list[int] = []
    for place, image in enumerate(row[ordered.indices].tolist()):
        if len(kept) == number or math.isinf(ordered.values[place]):
            break
        if image not in seen:
            seen.add(image)
            kept.append(place)
    return Nearest(ordered.indices[kept], ordered.values[kept])
