"""Passes at inference as training makes them, which the released code of thesis ch. 4 takes for BALD's dropout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from alpl.data.batch import Batch


def training_passes(network: nn.Module, logits: Callable[[Tensor], Tensor], batch: Batch, number: int) -> list[Tensor]:
    """Give the logits of several passes in training mode, each of the batch augmented anew, ``[B K]`` each.

    Batch norm takes the statistics of the batch, dropout is on where there is any. A batch of one image, whose
    statistics need not exist, passes in evaluation mode.

    Args:
        network: in evaluation mode; modes and buffers are afterwards as they were. The released code leaves the
            running statistics that these passes make in the network.
        logits: of images, by the network.
        batch: can be drawn anew.
        number: of passes.
    """
    assert batch.redraw is not None, "check_data() has seen that the pool is shown as in training"
    if len(batch.images) == 1:
        return [logits(batch.redraw()) for _ in range(number)]
    with _training(network):
        return [logits(batch.redraw()) for _ in range(number)]


@contextmanager
def _training(network: nn.Module) -> Iterator[None]:
    modes = [(part, part.training) for part in network.modules()]
    kept = [(buffer, buffer.clone()) for buffer in network.buffers()]
    network.train()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
