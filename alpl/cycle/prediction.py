"""Predicts images and writes what was predicted, batch by batch, in the order of the pool."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer

from alpl.callbacks.throughput import Throughput
from alpl.cycle.parts import Parts
from alpl.data.base import AbstractPoolDataModule
from alpl.machine.processes import rank
from alpl.predictions.prediction_files import WritePredictions, join, writing


def write_predictions(
    parts: Parts,
    module: LightningModule,
    data: AbstractPoolDataModule,
    path: Path,
    *,
    make: Callable[..., Trainer] | None = None,
) -> None:
    """Predict what ``data`` observes into a folder, whole or not at all; with several processes each its share.

    Args:
        parts: of the run.
        module: whose ``predict_step`` gives :class:`alpl.predictions.Predictions`.
        data: observes the images.
        path: of the folder.
        make: makes another trainer than the experiment's.
    """
    writes, throughput = WritePredictions(), Throughput()
    trainer = parts.make_trainer(throughput, writes, make=make)
    if trainer.world_size == 1:
        with writing(path) as writes.writer:
            trainer.predict(module, datamodule=data, return_predictions=False)
        parts.stages.note |= throughput.note
        return
    shards = [path.with_name(f".{path.name}.process_{process}") for process in range(trainer.world_size)]
    with writing(shards[rank()]) as writes.writer:
        trainer.predict(module, datamodule=data, return_predictions=False)
    parts.stages.note |= throughput.note
    torch.distributed.barrier()
    if parts.is_main:
        join(shards, path)
