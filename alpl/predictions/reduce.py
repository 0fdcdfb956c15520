"""Instances -> one value per image; what an image with no instance gets is always said."""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import Tensor

Reduction: TypeAlias = Literal["max", "mean", "sum"]

_SCATTER = {"max": "amax", "mean": "mean", "sum": "sum"}  # torch's names


def reduce_instances(values: Tensor, row: Tensor, num_images: int, how: Reduction, empty: float) -> Tensor:
    """Reduce the values of each image's instances to one.

    Args:
        values: ``Float[I]`` one value an instance.
        row: ``Long[I]`` the image of each instance, in [0, N), in any order.
        num_images: N.
        how: which reduction.
        empty: what an image with no instance gets.

    Returns:
        ``Float[N]``, of the type and device of ``values``.

    Raises:
        ValueError: the shapes or types are not these, a row lies outside the images, or the reduction is unknown.

    >>> import torch
    >>> reduce_instances(torch.tensor([1.0, 3.0, 2.0]), torch.tensor([0, 0, 2]), 3, "mean", empty=-1.0)
    tensor([ 2., -1.,  2.])
    """
    check_reduction(how)
    if not values.is_floating_point() or values.ndim != 1:
        raise ValueError(f"values must be Float[I], got {values.dtype} of shape {list(values.shape)}")
    if row.shape != values.shape:
        raise ValueError(f"row must be Long[{len(values)}], one image a value, got shape {list(row.shape)}")
    if len(row) and not 0 <= int(row.min()) <= int(row.max()) < num_images:
        raise ValueError(f"row must lie in [0, {num_images}), got {int(row.min())} to {int(row.max())}")
    # include_self=False: images that no instance belongs to keep exactly what they were filled with
    filled = values.new_full((num_images,), empty)
    return filled.scatter_reduce(0, row, values, reduce=_SCATTER[how], include_self=False)


def check_reduction(how: str) -> None:
    """Make sure that a reduction is known.

    Raises:
        ValueError: it is not.
    """
    if how not in _SCATTER:
        raise ValueError(f"reduction must be one of {', '.join(_SCATTER)}, got {how!r}")
