r"""Category-conditioned matching similarity: how alike two images are by the objects on them (PPAL sec. 3.3).

Axes: N images, I detections over all of them, F features.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, final

import torch
from torch import Tensor

from alpl.selection.blocks import MEMORY_LIMIT, rows_per_block
from alpl.selection.class_tiles import Tile, tiles_of_class
from alpl.selection.image_similarity import symmetric
from alpl.selection.object_match import LARGEST, AbstractMatch, CosineMatch, Prepared
from alpl.selection.objects import Objects

Empty: TypeAlias = Literal["dissimilar", "alike", "similar"]
EMPTY_RULES = ("dissimilar", "alike", "similar")

_TILE, _TILE_ON_DEVICE = 640, 8192  # detections of a tile; on a CPU its products stay in the cache
_BYTES_A_PAIR = 16  # its product, and what that is reduced to
_ROWS = 1024  # of the result that are finished at a time


def ccms(
    objects: Objects,
    match: AbstractMatch | None = None,
    *,
    empty: Empty = "dissimilar",
    same_rank: bool = False,
    epsilon: float = 0.0,
    memory_limit: int = MEMORY_LIMIT,
) -> Tensor:
    r"""Compare all pairs of images by the objects on them.

    .. math::
        S(o_{a,i}, O_b) &= \max_{c_{b,j} = c_{a,i}} \frac{f_{a,i} \cdot f_{b,j}}{\lVert f_{a,i} \rVert \lVert f_{b,j}
        \rVert} + 1, \quad 0 \text{ if no } c_{b,j} = c_{a,i}

        S'(O_a, O_b) &= \frac{1}{\sum_i t_{a,i}} \sum_i t_{a,i} \, S(o_{a,i}, O_b), \qquad
        S(O_a, O_b) = \tfrac12 \big[ S'(O_a, O_b) + S'(O_b, O_a) \big]

    with features f, classes c and scores t (Eq. 6, 7). An image has similarity 2 to itself. Where all scores of an
    image are 0, its mean S' is 0.

    Matrix products by class, in tiles that are reduced while they are in the cache; each pair of tiles is multiplied
    once and serves both directions. :math:`O(\sum_c I_c^2 F)` time, half of it for symmetric matches. Memory: the
    result of 4 N^2 bytes, a class's values in float32 (or as much of them as the limit allows), one pair of tiles, and
    about 100 bytes a detection. Products are float32: similarities are right to about 1e-6, and another limit, number
    of threads or device can change them by as much.

    Args:
        objects: the detections.
        match: how alike two objects are; the cosine of Eq. 6 by default.
        empty: what images without detections are, which the equations leave open. ``dissimilar``: 0 to every other
            image, as Eq. 6 gives an object that finds no match; ``alike``: 2 to each other and 0 to the rest;
            ``similar`` (``as_released``): 2 to every image.
        same_rank: ``as_released``: an object has similarity 2 to an image whose object of the same rank by score has
            the same class, whatever their features. The code means to do this for an image with itself, and does it
            for all pairs.
        epsilon: is added to the sum of the scores of the mean distance 2 - S' (``as_released``: 1e-5).
        memory_limit: bytes that may be taken beside the inputs, the result and the indices of detections.

    Returns:
        ``Float32[N N]`` in [0, 2], exactly symmetric.

    Raises:
        ValueError: ``memory_limit`` is too small for the products of two images, an option is unknown or out of range,
            or a value is not finite.

    >>> from alpl.selection.objects import Objects
    >>> one = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> ccms(Objects(one, torch.tensor([3, 4, 3]), torch.tensor([0.9, 0.1, 0.5]), torch.tensor([0, 0, 1]), 2))
    tensor([[2.0000, 1.9000],
            [1.9000, 2.0000]])
    """
    match = match or CosineMatch()
    if empty not in EMPTY_RULES:
        raise ValueError(f"empty must be one of {', '.join(EMPTY_RULES)}, got {empty!r}")
    if not 0 <= epsilon < float("inf"):
        raise ValueError(f"epsilon must be finite and >= 0, got {epsilon}")
    number = objects.num_images
    matching = _Matching(objects, match, same_rank, epsilon, memory_limit)
    similarity = torch.zeros(number, number, device=objects.row.device)
    for label in objects.labels.unique().tolist():
        matching.add_class(int(label), similarity)
    constant = matching.constant
    for rows, part in zip(constant.split(_ROWS), similarity.split(_ROWS), strict=True):
        part += (rows[:, None] + constant) / 2
        part.clamp_(0, LARGEST)
    return _fill_empty(symmetric(similarity, LARGEST), objects.counts == 0, empty)


@final
class _Matching:
    """Adds what each class contributes to the similarities."""

    def __init__(
        self, objects: Objects, match: AbstractMatch, same_rank: bool, epsilon: float, memory_limit: int
    ) -> None:
        self.objects, self.match = objects, match
        total = torch.zeros(objects.num_images, dtype=torch.float64, device=objects.row.device)
        total.index_add_(0, objects.row, objects.scores.double())
        total += epsilon
        share = objects.scores.double() / total[objects.row]
        self.weights = torch.where(total[objects.row] > 0, share, 0.0).float()  # t / (sum t + epsilon)
        # S' = 2 - sum t (2 - s) / (sum t + epsilon): beside the weighted sum of s, this
        self.constant = torch.where(total > 0, LARGEST * epsilon / total, 0.0).float()
        self.ranks = objects.ranks() if same_rank else None
        self._plan(memory_limit)

    def _plan(self, memory_limit: int) -> None:
        """Divide the memory: half for the products of two tiles, half for two stripes of prepared values."""
        objects, device = self.objects, self.objects.row.device
        detections = max(int(objects.counts.max()), 1) if len(objects.row) else 1
        width = self.match.prepare(objects.values[:1]).left.shape[1]
        pairs = rows_per_block(memory_limit // 2, _BYTES_A_PAIR, at_least=(1 + detections) ** 2)
        wanted = _TILE if device.type == "cpu" else _TILE_ON_DEVICE
        self.tile_size = min(wanted, math.isqrt(pairs) - detections)  # a tile may exceed it by one image
        # a stripe exceeds its size only where it is one tile
        self.stripe_size = rows_per_block(memory_limit // 2, 2 * 8 * max(width, 1))
        self.buffer = torch.empty((self.tile_size + detections) ** 2, device=device)

    def add_class(self, label: int, similarity: Tensor) -> None:
        """Add the contributions of a class, at least to the entries above the diagonal."""
        objects = self.objects
        instances = (objects.labels == label).nonzero().flatten()
        tiles = tiles_of_class(instances, objects.row, self.tile_size)
        table = self._rank_table(instances)
        stripes = _stripes(tiles, self.stripe_size)
        for place, first in enumerate(stripes):
            ours = self._prepared(first)
            for second in stripes[place:]:
                theirs = ours if second is first else self._prepared(second)
                for start, (tile, left) in enumerate(zip(first, ours, strict=True)):
                    since = start if second is first else 0
                    for other, right in list(zip(second, theirs, strict=True))[since:]:
                        added = self._compare(tile, other, left, right, table)
                        similarity[tile.images[:, None], other.images] += added

    def _prepared(self, stripe: list[Tile]) -> list[Prepared]:
        return [self._prepare(self.objects.values[tile.instances]) for tile in stripe]

    def _prepare(self, values: Tensor) -> Prepared:
        # one pass over the values; only a sum that is not finite makes it worth another
        if not bool(values.sum(dtype=torch.float64).isfinite()) and not bool(values.isfinite().all()):
            raise ValueError("values must be finite, got NaN or infinite ones")
        return self.match.prepare(values)

    def _rank_table(self, instances: Tensor) -> Tensor | None:
        """``Bool[N K]``: whether the object of a rank in an image is of this class."""
        if self.ranks is None:
            return None
        table = torch.zeros(
            self.objects.num_images, int(self.ranks.max()) + 1, dtype=torch.bool, device=instances.device
        )
        table[self.objects.row[instances], self.ranks[instances]] = True
        return table

    def _compare(self, a: Tile, b: Tile, of_a: Prepared, of_b: Prepared, table: Tensor | None) -> Tensor:
        """``Float[n_a n_b]``: what this class adds to the similarities of two tiles' images."""
        products = self._products(of_a.left, of_b.right)
        by_b = b.max_by_image(products.T)  # [n_b m_a]
        if a is b:  # both directions are among these products
            of_own = self._mean(by_b, a, a, table)
            return (of_own.T + of_own) / 2
        if not self.match.symmetric:
            products = self._products(of_b.left, of_a.right).T
        by_a = a.max_by_image(products)  # [n_a m_b]
        return (self._mean(by_b, a, b, table).T + self._mean(by_a, b, a, table)) / 2

    def _products(self, left: Tensor, right: Tensor) -> Tensor:
        out = self.buffer[: len(left) * len(right)].view(len(left), len(right))
        return torch.mm(left, right.T, out=out)

    def _mean(self, best: Tensor, tile: Tile, other: Tile, table: Tensor | None) -> Tensor:
        """``Float[n_other n]``: the weighted sum over each image's detections of the best matches ``[n_other m]``."""
        best = best.add_(self.match.offset).clamp_(0, LARGEST)
        if table is not None and self.ranks is not None:
            best.masked_fill_(table[other.images][:, self.ranks[tile.instances]], LARGEST)
        return tile.sum_by_image(best.mul_(self.weights[tile.instances]).T).T


def _stripes(tiles: list[Tile], size: int) -> list[list[Tile]]:
    """Group neighboring tiles so that a group has at most ``size`` detections, or is one tile."""
    stripes: list[list[Tile]] = []
    held = 0
    for tile in tiles:
        if not stripes or held + len(tile) > size:
            stripes.append([])
            held = 0
        stripes[-1].append(tile)
        held += len(tile)
    return stripes


def _fill_empty(similarity: Tensor, is_empty: Tensor, empty: Empty) -> Tensor:
    images = is_empty.nonzero().flatten()
    to_others = LARGEST if empty == "similar" else 0.0
    similarity[images] = to_others
    similarity[:, images] = to_others
    if empty == "alike":
        similarity[images[:, None], images] = LARGEST
    similarity.fill_diagonal_(LARGEST)
    return similarity
