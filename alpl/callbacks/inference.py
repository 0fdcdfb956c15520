"""Inference passes over the pool: inside a fit (tracking) and gathering what several processes computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
import torch.distributed
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from alpl.data.batch import Batch
from alpl.modules.base import AbstractModule
from alpl.predictions import Need, Predictions


def predict_batches(
    trainer: Trainer, module: LightningModule, loader: Iterable[Batch], needs: Need
) -> Iterator[Predictions]:
    """Predict every batch of a loader while a trainer runs, in its precision and on its device.

    The module is in evaluation mode for that time, and each of its parts is back in its own mode afterwards.
    """
    assert isinstance(module, AbstractModule), "the loop trains nothing else"
    _share_buffers(trainer, module)
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        for batch in loader:
            with torch.no_grad():  # not around the yield: it would reach into the caller
                batch = trainer.strategy.batch_to_device(batch)  # through the data module's transfer hooks
                with trainer.precision_plugin.predict_step_context():
                    part = module.predict_batch(batch, needs)
            yield part
    finally:
        for submodule, mode in modes:
            submodule.training = mode


def _share_buffers(trainer: Trainer, module: LightningModule) -> None:
    """Give every process the buffers of process 0, which the saved model has, as DDP does before a training step.

    After a step each process holds the batch-norm statistics of its own batches.
    """
    if trainer.world_size > 1:
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, src=0)


def gather_rows(trainer: Trainer, parts: Sequence[Tensor]) -> np.ndarray:
    """Join the batches of one pass, over all processes, in the order of the pool.

    Process r saw every ``world_size``-th image (:class:`alpl.data.batch.ShardSampler`).

    Args:
        trainer: the running trainer.
        parts: ``[B ...]`` each, on any device; this process's batches in order. They leave it together: of each alone
            the CPU would wait for what is computed until then.

    Returns:
        ``[U ...]``, the same on every process.
    """
    own = torch.cat(list(parts)).cpu().numpy() if parts else np.zeros(0, dtype=np.int64)
    if trainer.world_size == 1:
        return own
    gathered: list[np.ndarray | None] = [None] * trainer.world_size
    torch.distributed.all_gather_object(gathered, own)
    return interleave([array for array in gathered if array is not None and len(array)])


def interleave(shards: Sequence[np.ndarray]) -> np.ndarray:
    """Undo ``rows[rank::world_size]``.

    >>> interleave([np.array([0, 2, 4]), np.array([1, 3])]).tolist()
    [0, 1, 2, 3, 4]
    """
    if not shards:
        return np.zeros(0, dtype=np.int64)
    joined = np.empty((sum(len(shard) for shard in shards), *shards[0].shape[1:]), dtype=shards[0].dtype)
    for rank, shard in enumerate(shards):
        joined[rank :: len(shards)] = shard
    return joined
