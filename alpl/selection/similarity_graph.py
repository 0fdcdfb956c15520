"""The most similar images of each image, where all pairs are too many to hold.

Axes: N images, E held pairs (each in both directions), P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


@final
@dataclass(frozen=True, eq=False)
class SimilarityGraph:
    """Similarities of some pairs of N images, and what is known of the others.

    An image's floor is the least that any of its own most similar images has: as far as the search for these was
    complete, no image that it is not held with is more similar.

    Args:
        starts: ``Long[N + 1]`` where the pairs of each image begin.
        others: ``Long[E]`` the second image of each pair, ascending within the first one's.
        values: ``Float32[E]`` similarities above 0; a pair has one value in both directions.
        floor: ``Float32[N]``.
    """

    starts: Tensor
    others: Tensor
    values: Tensor
    floor: Tensor

    def __len__(self) -> int:
        return len(self.floor)

    def row(self, image: int) -> tuple[Tensor, Tensor]:
        """``Long[e]`` and ``Float32[e]``: the images that one is held with, itself left out, and how similar."""
        start, stop = self.starts[image : image + 2].tolist()
        return self.others[start:stop], self.values[start:stop]

    def firsts(self) -> Tensor:
        """``Long[E]``: the first image of each pair."""
        return torch.arange(len(self), device=self.starts.device).repeat_interleave(self.starts.diff())


def nearest_graph(
    first: Tensor, second: Tensor, values: Tensor, num_images: int, number: int, complete: Tensor | None = None
) -> SimilarityGraph:
    """Keep, of each image's pairs, those with its most similar images; a pair stays where either image keeps it.

    Equal similarities are kept by ascending image; those of 0 never. The floor of an image with fewer pairs than
    ``number`` is 0 where all that may be like it were looked at, or where it has none; else that of its last pair.

    Args:
        first: ``Long[P]``.
        second: ``Long[P]`` each pair once, in either order, never an image with itself.
        values: ``Float32[P]`` similarities >= 0.
        num_images: N.
        number: how many most similar images each image keeps.
        complete: ``Bool[N]``, images of which all that may be like them were looked at; None for all.
    """
    some = values > 0
    first, second, values = first[some], second[some], values[some]
    ours, theirs = torch.cat([first, second]), torch.cat([second, first])
    both = values.float().repeat(2)
    own = leading(ours, theirs, both, number)
    counts = torch.bincount(ours[own], minlength=num_images)
    floor = torch.full((num_images,), torch.inf, device=both.device).scatter_reduce(0, ours[own], both[own], "amin")
    short = counts < number if complete is None else (counts < number) & (complete | (counts == 0))
    floor[short] = 0.0
    kept = own | own.roll(len(first))  # the other direction of a pair is half of them away
    ours, theirs, both = ours[kept], theirs[kept], both[kept]
    order = (ours * num_images + theirs).argsort()
    ends = torch.bincount(ours, minlength=num_images).cumsum(0)
    return SimilarityGraph(torch.cat([ends.new_zeros(1), ends]), theirs[order], both[order], floor)


def leading(group: Tensor, tie: Tensor, values: Tensor, number: int) -> Tensor:
    """``Bool[n]``: which entries are among the ``number`` largest values of their group.

    Args:
        group: ``Long[n]`` >= 0.
        tie: ``Long[n]`` of equal values the smaller ones go first.
        values: ``Float[n]``.
        number: of each group.
    """
    order = tie.argsort()
    order = order[values[order].argsort(descending=True, stable=True)]
    order = order[group[order].argsort(stable=True)]
    counts = torch.bincount(group)
    place = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[group[order]]
    kept = torch.zeros(len(order), dtype=torch.bool, device=order.device)
    kept[order[place < number]] = True
    return kept
