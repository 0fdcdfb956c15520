"""Flip consistency of detections (Elezi et al. Eq. 2 to 5, after Jeong et al. 2019).

Axes: B images, P predictions of an image (one a prior), C outputs of the head, output 0 is the background.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from alpl.losses.box_consistency import Compare, box_difference

Pairs: TypeAlias = Literal["matched", "foreground"]
PAIRS = ("matched", "foreground")

EPS = 1e-7
"""Added to every probability before its logarithm (as released)."""


class Consistency(NamedTuple):
    """The two parts of the consistency loss, scalars."""

    classes: Tensor
    """The first expectation of Eq. 5."""
    localization: Tensor
    """The second one."""

    @property
    def total(self) -> Tensor:
        """Eq. 5."""
        return self.classes + self.localization


def consistency_loss(
    probs: Tensor,
    deltas: Tensor,
    probs_flipped: Tensor,
    deltas_flipped: Tensor,
    matched: Tensor,
    priors: Tensor,
    *,
    pairs: Pairs = "matched",
    compare: Compare = "recoded",
    detach_targets: bool = True,
) -> Consistency:
    r"""Compare the predictions for images with those for their horizontal flips, over matched pairs.

    .. math::
        L_{con_C} &= \tfrac12 \big[ KL(c', \hat c) + KL(\hat c, c') \big] \; (3) \\
        L_{con_L} &= \tfrac14 \big( (x' + \hat x)^2 + (y' - \hat y)^2 + (w' - \hat w)^2 + (h' - \hat h)^2 \big)\; (4) \\
        L_{con} &= E[L_{con_C}] + E[L_{con_L}] \; (5)

    Elezi et al.; the hat marks a prediction for the flipped image, the prime its match. The expectations are over all
    pairs of the batch that count; 0 where there is none. Localization has a gradient through both predictions.

    Args:
        probs: ``Float[B P C]``, after the softmax.
        deltas: ``Float[B P 4]`` encoded offsets (x, y, w, h), not decoded.
        probs_flipped: the same for the flipped images, in the order of the network (not un-flipped).
        deltas_flipped: the same; x is negated here.
        matched: ``Long[P]`` or ``Long[B P]``: the original prediction that each flipped prediction belongs to, -1 for
            none; from :func:`mirror_index` (``as_released``) or
            :func:`alpl.boxes.iou_matching.match_by_iou` (``as_written``).
        priors: ``Float[P 4]`` cxcywh, in units of the image.
        pairs: which count. ``matched``: all, as Eq. 5 says. ``foreground``: those whose original prediction is no
            background, :math:`\max_{c>0} p_c > p_0` (as released).
        compare: of which numbers Eq. 4 is, see :func:`alpl.losses.box_consistency.box_difference`.
        detach_targets: let no gradient through the first argument of each KL (as released; not in the text).

    Raises:
        ValueError: the shapes do not belong together, or an option is unknown.
    """
    _check_shapes(probs, deltas, probs_flipped, deltas_flipped, matched)
    image, flipped, original = _pairs_of(probs, matched, pairs)
    count = max(len(image), 1)  # an empty sum over 1 is 0, and stays in the graph
    ours, theirs = (
        p.to(torch.promote_types(p.dtype, torch.float32)) + EPS  # EPS is lost in half precision
        for p in (probs[image, original], probs_flipped[image, flipped])
    )
    classes = (_kl(theirs, ours, detach_targets) + _kl(ours, theirs, detach_targets)) / 2
    both = deltas[image, original], deltas_flipped[image, flipped]
    distance = box_difference(*both, priors[original], priors[flipped], compare).square().sum(-1) / 4  # (4)
    return Consistency(classes.sum() / count, distance.sum() / count)


def mirror_index(map_sizes: Sequence[tuple[int, int]], boxes_per_cell: Sequence[int]) -> Tensor:
    """Pair every prior with the same prior of the mirrored cell (``as_released``).

    Priors are ordered by map, row, column and prior of the cell, as :mod:`torchvision` and SSD order them. The
    permutation is its own inverse. With SSD's nominal steps the centers of two partners are not exact mirror images.

    Args:
        map_sizes: height and width of each feature map.
        boxes_per_cell: priors of a cell, for each map.

    Returns:
        ``Long[P]``.

    Raises:
        ValueError: there are not as many of the one as of the other.

    >>> mirror_index([(1, 3), (1, 1)], [2, 1])
    tensor([4, 5, 2, 3, 0, 1, 6])
    """
    if len(map_sizes) != len(boxes_per_cell):
        raise ValueError(f"boxes_per_cell must be given for {len(map_sizes)} maps, got {len(boxes_per_cell)}")
    parts, start = [torch.zeros(0, dtype=torch.long)], 0
    for (height, width), boxes in zip(map_sizes, boxes_per_cell, strict=True):
        number = height * width * boxes
        cells = torch.arange(start, start + number).view(height, width, boxes)
        parts.append(cells.flip(1).flatten())
        start += number
    return torch.cat(parts)


def consistency_ramp(step: int, total: int = 120_000, up: float = 32 / 120, down: float = 100 / 120) -> float:
    r"""Weight of the consistency loss (as released; the paper does not mention it).

    .. math::
        w(t) = 0 \text{ at } t = 0, \quad
        e^{-5 (1 - t/u)^2} \text{ for } t < u, \quad 1 \text{ until } d, \quad
        e^{-12.5 (1 - (1 - t)/(1 - d))^2} \text{ for } t > d

    with t the share of the training that is done, u = ``up`` and d = ``down``. Released: u = 32,000 and d = 100,000 of
    120,000 steps.

    Args:
        step: optimizer steps done, in [0, ``total``].
        total: steps of the whole training.
        up: share at which the weight has reached 1.
        down: share from which it falls again; 1 for never.

    Raises:
        ValueError: a value is out of range.

    >>> [round(consistency_ramp(step), 4) for step in (0, 16_000, 32_000, 100_000, 110_000, 120_000)]
    [0.0, 0.2865, 1.0, 1.0, 0.0439, 0.0]
    """
    if not 0 <= step <= total or total < 1:
        raise ValueError(f"step must be in [0, total] and total >= 1, got {step} and {total}")
    if not 0 <= up <= down <= 1:
        raise ValueError(f"up and down must be 0 <= up <= down <= 1, got {up} and {down}")
    done = step / total
    if step == 0:
        return 0.0
    if done < up:
        return math.exp(-5 * (1 - done / up) ** 2)
    if done > down:
        return math.exp(-12.5 * (1 - (1 - done) / (1 - down)) ** 2)
    return 1.0


def foreground_of(probs: Tensor) -> Tensor:
    """``Float[... C]`` -> ``Bool[...]``: the background is not the most probable output (as released)."""
    return probs[..., 1:].amax(-1) > probs[..., 0]


def _kl(target: Tensor, probs: Tensor, detach_target: bool) -> Tensor:
    """``Float[n]``: KL(target, probs)."""
    target = target.detach() if detach_target else target
    return (target * (target.log() - probs.log())).sum(-1)


def _pairs_of(probs: Tensor, matched: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
    """``Long[n]`` each: image, flipped prediction and original prediction of the pairs that count."""
    if pairs not in PAIRS:
        raise ValueError(f"pairs must be one of {', '.join(PAIRS)}, got {pairs!r}")
    matched = matched.to(probs.device).expand(probs.shape[:2])
    counts = matched >= 0
    if pairs == "foreground":
        counts = counts & foreground_of(probs).gather(1, matched.clamp(min=0))
    image, flipped = counts.nonzero(as_tuple=True)
    return image, flipped, matched[image, flipped]


def _check_shapes(
    probs: Tensor, deltas: Tensor, probs_flipped: Tensor, deltas_flipped: Tensor, matched: Tensor
) -> None:
    if probs.ndim != 3 or probs.shape[-1] < 2 or probs_flipped.shape != probs.shape:
        shapes = f"{list(probs.shape)} and {list(probs_flipped.shape)}"
        raise ValueError(f"probs and probs_flipped must be Float[B P C], C >= 2, got shapes {shapes}")
    expected = [*probs.shape[:2], 4]
    if list(deltas.shape) != expected or list(deltas_flipped.shape) != expected:
        shapes = f"{list(deltas.shape)} and {list(deltas_flipped.shape)}"
        raise ValueError(f"deltas and deltas_flipped must be Float{expected}, got shapes {shapes}")
    if matched.shape not in (probs.shape[1:2], probs.shape[:2]) or matched.dtype != torch.long:
        shape = f"{matched.dtype} {list(matched.shape)}"
        raise ValueError(f"matched must be Long{[probs.shape[1]]} or Long{expected[:2]}, got {shape}")
