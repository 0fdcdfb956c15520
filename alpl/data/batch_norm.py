"""What batch norm asks of the batches that a network is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # the base of all that normalize over a batch

from alpl.errors import ConfigError


def least_batch(network: nn.Module | None) -> int:
    """Give how many images a training batch of a network should hold at least.

    Two where it normalizes over the batch: one image has no variance, and torch refuses it where a map has one pixel.

    >>> least_batch(nn.Linear(2, 2)), least_batch(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))), least_batch(None)
    (1, 2, 1)
    """
    parts = () if network is None else network.modules()
    return 2 if any(isinstance(part, _BatchNorm) for part in parts) else 1


@contextmanager
def single_images_told() -> Iterator[None]:
    """Say in one line that every batch of a fit holds one image, and that the network cannot take it.

    Raises:
        ConfigError: it does.
    """
    try:
        yield
    except ValueError as error:
        if not is_of_single_value(error):
            raise
        raise ConfigError(
            "data.batch_size, its labeled share and the labeled images must be >= 2 a process, as the network has "
            f"batch norm, got a batch of one image ({error})"
        ) from error


def is_of_single_value(error: ValueError) -> bool:
    """Whether it is what torch says of a single value to normalize: one image whose map has one pixel."""
    return str(error).startswith("Expected more than 1 value per channel")
