"""What the boxes of an image and of its horizontal flip differ by (Elezi et al. Eq. 4).

Axes: n pairs of predictions; the last one is x, y, w, h.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from alpl.boxes.box_coding import decode, recode

Compare: TypeAlias = Literal["recoded", "decoded", "offsets"]
COMPARE = ("recoded", "decoded", "offsets")


def box_difference(
    deltas: Tensor, deltas_flipped: Tensor, priors: Tensor, priors_flipped: Tensor, compare: Compare
) -> Tensor:
    r"""Give the four terms of Eq. 4 of each pair, before their squares.

    The paper writes Eq. 4 of the offsets that the network gives, and pairs boxes by their overlap (Eq. 2). Two such
    boxes mostly come from different priors, so that equal boxes have different offsets: found crosswise from priors
    0.1 and 0.1414 wide they cost 1.5, where nothing is inconsistent. So there are three readings:

    - ``recoded``: offsets from one prior, that of the original prediction. Equal boxes cost nothing, and for the two
      predictions of one prior and its mirror image it is what ``offsets`` is.
    - ``decoded``: the boxes, in units of the image. Equal boxes cost nothing, and those of small objects next to it.
    - ``offsets``: each from its own prior, to the letter and as released, where only predictions of one prior and its
      mirror image are compared.

    Args:
        deltas: ``Float[n 4]`` for the images.
        deltas_flipped: ``Float[n 4]`` for the flipped images; mirrored here.
        priors: ``Float[n 4]`` cxcywh, units of the image, of ``deltas``.
        priors_flipped: ``Float[n 4]`` the same of ``deltas_flipped``; mirrored here.
        compare: which reading.

    Returns:
        ``Float[n 4]``.

    Raises:
        ValueError: the reading is unknown.

    >>> small, large = torch.tensor([[0.5, 0.5, 0.1, 0.1]]), torch.tensor([[0.5, 0.5, 0.2, 0.2]])
    >>> box_difference(torch.zeros(1, 4), torch.zeros(1, 4), small, large, "decoded")
    tensor([[ 0.0000,  0.0000, -0.1000, -0.1000]])
    """
    if compare not in COMPARE:
        raise ValueError(f"compare must be one of {', '.join(COMPARE)}, got {compare!r}")
    mirrored = deltas_flipped * deltas_flipped.new_tensor([-1.0, 1.0, 1.0, 1.0])
    if compare == "offsets":
        return deltas - mirrored
    places = torch.cat([1 - priors_flipped[..., :1], priors_flipped[..., 1:]], -1)
    if compare == "decoded":
        return decode(deltas, priors) - decode(mirrored, places)
    return deltas - recode(mirrored, places, priors)
