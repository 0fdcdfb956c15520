"""Pairs of predictions by their overlap (Elezi et al. Eq. 2).

Axes: B images, P predictions of an image (one a prior).
"""

from __future__ import annotations

import torch
from torch import Tensor

# IoUs in memory at a time: what a core's cache holds, or 64 MiB of float32 for each of a few temporary tensors
_PAIRS_ON_CPU, _PAIRS_ON_GPU = 2**17, 2**24
_BLOCK = 32  # boxes


@torch.no_grad()
def match_by_iou(
    boxes: Tensor,
    boxes_flipped: Tensor,
    width: float,
    *,
    foreground: Tensor | None = None,
    likely: Tensor | None = None,
) -> Tensor:
    r"""Pair every flipped prediction with the original of largest overlap (``as_written``).

    .. math:: \Delta'_i = \arg\max_{b \in \{b\}} IoU(b, \hat b_i)

    Elezi et al. Eq. 2, after the flipped boxes are mirrored back. The first of equal overlaps is taken; a box that
    overlaps nothing has no match.

    The result is that of comparing all with all, but originals are kept in blocks of boxes that lie close together,
    and a block is opened only where its bounds allow an overlap as large as that with the ``likely`` partner.

    Args:
        boxes: ``Float[B P 4]`` xyxy, decoded; x1 <= x2 and y1 <= y2.
        boxes_flipped: ``Float[B P 4]`` xyxy in the flipped images.
        width: of the images, in the unit of the boxes.
        foreground: ``Bool[B P]`` originals whose matches are of interest: a match with another one is given as none.
            None for all.
        likely: ``Long[P]`` for each flipped prediction an original that it probably overlaps much, such as the mirrored
            prior's. It changes the time alone.

    Returns:
        ``Long[B P]``, -1 for no match.

    Raises:
        ValueError: the boxes are not of that shape.
    """
    if boxes.ndim != 3 or boxes.shape[-1] != 4 or boxes.shape != boxes_flipped.shape:
        shapes = f"{list(boxes.shape)} and {list(boxes_flipped.shape)}"
        raise ValueError(f"boxes and boxes_flipped must be Float[B P 4], got shapes {shapes}")
    matched = torch.full(boxes.shape[:2], -1, dtype=torch.long, device=boxes.device)
    if not boxes.shape[1]:
        return matched
    x1, y1, x2, y2 = boxes_flipped.unbind(-1)
    restored = torch.stack([width - x2, y1, width - x1, y2], -1)
    for image, (theirs, ours) in enumerate(zip(restored, boxes, strict=True)):
        least = torch.zeros_like(theirs[:, 0]) if likely is None else iou(theirs, ours[likely])
        if foreground is None:
            matched[image] = _match(theirs, ours, least)
            continue
        open_ = _undecided(theirs, ours[foreground[image]], least).nonzero().flatten()
        found = _match(theirs[open_], ours, least[open_])
        matched[image, open_] = found.where((found >= 0) & foreground[image, found], -1)
    return matched


def _undecided(theirs: Tensor, wanted: Tensor, least: Tensor) -> Tensor:
    """``Bool[P]``: false where the best original is surely not a wanted one (``[F 4]``); all true where F is large."""
    if len(wanted) > len(theirs) // 8:  # as in the first steps of a training: it would cost more than it spares
        return torch.ones_like(least, dtype=torch.bool)
    if not len(wanted):
        return torch.zeros_like(least, dtype=torch.bool)
    chunks = theirs.split(max(1, _pairs_on(theirs.device) // len(wanted)))
    best = torch.cat([iou(chunk[:, None], wanted).amax(1) for chunk in chunks])
    return (best > 0) & ~(best < least)


def _match(theirs: Tensor, ours: Tensor, least: Tensor) -> Tensor:
    """``Long[n]``: the original of largest overlap of each of n boxes, -1 where nothing overlaps.

    ``least``: ``Float[n]``, an overlap that some original has.
    """
    index = _blocks(ours)
    bound = _bound(theirs[:, None], ours[index])
    # not >=: an empty box overlaps its likely partner by NaN
    row, block = ((bound > 0) & ~(bound < least[:, None])).nonzero(as_tuple=True)
    best, first = _best(theirs, ours[index], index, row, block)
    top = theirs.new_zeros(len(theirs)).scatter_reduce(0, row, best, "amax")
    first = first.where(best == top[row], len(ours))
    matched = first.new_full((len(theirs),), len(ours)).scatter_reduce(0, row, first, "amin")
    return matched.where(top > 0, -1)  # NaN, of two empty boxes, is no match either


def _blocks(boxes: Tensor) -> Tensor:
    """``Long[blocks size]``: boxes of like size and place together; the last one is repeated to fill its block."""
    centers, sides = boxes[:, :2] + boxes[:, 2:], (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-6)
    level = sides.log2().mean(1).floor()
    column, line = (centers / 2 / level.exp2()[:, None]).floor().clamp(-(2**12), 2**12).double().unbind(1)
    order = torch.argsort((level.double() * 2**14 + line) * 2**14 + column)
    return torch.cat([order, order[-1:].expand(-len(order) % _BLOCK)]).view(-1, _BLOCK)


def _bound(theirs: Tensor, blocks: Tensor) -> Tensor:
    """``[P 1 4]``, ``[blocks size 4]`` -> ``[P blocks]``: no IoU with a box of the block is larger, rounding included.

    All terms are monotone in the coordinates, and so is their rounding.
    """
    areas = _area(blocks)
    around = torch.cat([blocks[..., :2].amin(1), blocks[..., 2:].amax(1)], -1)
    mine = _area(theirs)
    shared = _shared(theirs, around, 0).mul_(_shared(theirs, around, 1))
    shared = torch.minimum(torch.minimum(shared, mine), areas.amax(1))
    return shared / ((mine + areas.amin(1)) - shared)


def _best(theirs: Tensor, blocks: Tensor, index: Tensor, row: Tensor, block: Tensor) -> tuple[Tensor, Tensor]:
    """Give the largest IoU of each of m pairs of a box and a block, and the first original that has it."""
    values, places = [theirs.new_zeros(0)], [row.new_zeros(0)]
    size = _pairs_on(theirs.device) // _BLOCK
    for some, few in zip(row.split(size), block.split(size), strict=True):
        overlap = iou(theirs[some, None], blocks[few])
        best = overlap.amax(1, keepdim=True)
        values.append(best.squeeze(1))
        places.append(index[few].where(overlap == best, index.numel()).amin(1))
    return torch.cat(values), torch.cat(places)


def _pairs_on(device: torch.device) -> int:
    return _PAIRS_ON_CPU if device.type == "cpu" else _PAIRS_ON_GPU


def iou(first: Tensor, second: Tensor) -> Tensor:
    """``Float[... 4]`` xyxy each, broadcast -> ``Float[...]``; NaN for two boxes without area."""
    shared = _shared(first, second, 0).mul_(_shared(first, second, 1))
    union = (_area(first) + _area(second)).sub_(shared)
    return shared.div_(union)


def _shared(first: Tensor, second: Tensor, axis: int) -> Tensor:
    ends = torch.minimum(first[..., axis + 2], second[..., axis + 2])
    return ends.sub_(torch.maximum(first[..., axis], second[..., axis])).clamp_(min=0)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
