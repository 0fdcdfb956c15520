"""The detections of many images, as methods that compare images by them take them.

Axes: N images, I detections over all of them, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


@final
@dataclass(frozen=True, eq=False)
class Objects:
    """The detections of N images.

    Args:
        values: ``Float[I F]`` what they are compared by: features, or class probabilities.
        labels: ``Long[I]`` classes; all alike where the class does not matter.
        scores: ``Float[I]`` detection confidence, >= 0.
        row: ``Long[I]`` the image of each, ascending.
        num_images: N.

    Raises:
        ValueError: the shapes are not these, ``row`` falls or leaves [0, N), or a value is not finite or negative.
    """

    values: Tensor
    labels: Tensor
    scores: Tensor
    row: Tensor
    num_images: int

    def __post_init__(self) -> None:
        number = len(self.row)
        if self.values.ndim != 2 or not len(self.values) == len(self.labels) == len(self.scores) == number:
            shapes = [list(each.shape) for each in (self.values, self.labels, self.scores, self.row)]
            raise ValueError(f"values, labels, scores and row must be [I F], [I], [I] and [I], got shapes {shapes}")
        if bool((self.row.diff() < 0).any()):
            raise ValueError("row must be ascending, the detections of an image together, got one that falls")
        if number and not 0 <= int(self.row[0]) <= int(self.row[-1]) < self.num_images:
            raise ValueError(f"row must lie in [0, {self.num_images}), got {int(self.row[0])} to {int(self.row[-1])}")
        if not bool((self.scores.isfinite() & (self.scores >= 0)).all()):
            raise ValueError("scores must be finite and >= 0, got NaN, infinite or negative values")

    @property
    def counts(self) -> Tensor:
        """``Long[N]``: detections of each image."""
        return torch.bincount(self.row, minlength=self.num_images)

    def ranks(self) -> Tensor:
        """``Long[I]``: the place of each detection among those of its image by score, 0 is the best; ties by order."""
        order = torch.argsort(self.scores, descending=True, stable=True)
        order = order[torch.argsort(self.row[order], stable=True)]
        counts = self.counts
        ranks = torch.empty_like(order)
        ranks[order] = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[self.row]
        return ranks
