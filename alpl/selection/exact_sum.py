"""Sums whose rounding is defined, so that a choice does not depend on block sizes, threads or the device."""

from __future__ import annotations

from torch import Tensor


def tree_sum(values: Tensor) -> Tensor:
    """``Float64[n W]`` -> ``Float64[n]``: the sum of each row, by halves, in place.

    The left half is added to the right half until one column is left; a middle column waits for the next turn. Every
    step is one IEEE addition an element, so the result is the same bit for bit wherever it is computed, which does not
    hold for a library's sum.

    >>> import torch
    >>> tree_sum(torch.tensor([[1.0, 2.0, 4.0], [0.5, 0.0, 0.0]], dtype=torch.float64))
    tensor([7.0000, 0.5000], dtype=torch.float64)
    """
    width = values.shape[1]
    if not width:
        return values.new_zeros(len(values))
    while width > 1:
        half = width // 2
        values[:, :half] += values[:, width - half : width]
        width -= half
    return values[:, 0].clone()
