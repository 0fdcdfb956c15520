"""Measures once a run what its network costs: parameters, and seconds of an image (AL-MDN, Tables 4 to 6)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import final

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from alpl.data.base import AbstractPoolDataModule
from alpl.data.batch import Batch
from alpl.modules.base import AbstractModule
from alpl.predictions import Need
from alpl.runs.environment import describe_device
from alpl.runs.network_cost import NetworkCost

TURNS, LIMIT_S = 7, 3.0


@final
class CostRecord(Callback):
    """Writes ``cost.json`` at the end of a test, when weights are trained and the device is warm.

    One image goes through what a pool's images go through, again and again: a first turn that does not count, then 7,
    or as many as begin within 3 seconds, at least one. The fastest counts, as other work on the machine disturbs it
    least. Reading, resizing and the way to the device are not in it; decoding, suppression and the way of the
    predictions back to the CPU, which waits for the device, are.

    Args:
        path: the file.
        needs: what the acquisition needs of the network.
        image: ``Long[1]`` dataset index of a training image.
    """

    def __init__(self, path: Path, needs: Need, image: Tensor) -> None:
        self.path = path
        self.needs = needs
        self.image = image

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure on process 0; the others go on to where they wait for it."""
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, AbstractModule), "the loop tests nothing else"
        batch = self._batch(trainer)
        seconds = self._turns(trainer, pl_module, batch)
        height, width = batch.images.shape[-2:]
        NetworkCost(
            parameters=sum(one.numel() for one in pl_module.asked.parameters()),
            trainable=sum(one.numel() for one in pl_module.asked.parameters() if one.requires_grad),
            forward_seconds=min(seconds),
            turns=len(seconds),
            height=height,
            width=width,
            needs=self.needs.names(),
            device=describe_device(batch.images.device),
            precision=str(trainer.precision),
        ).save(self.path)

    def _batch(self, trainer: Trainer) -> Batch:
        """Give the image as a batch of the prediction of a pool, on the device."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, AbstractPoolDataModule), "the loop tests with nothing else"
        batch = next(iter(data.observing(self.image).predict_dataloader()))
        assert isinstance(batch, Batch), "every loader gives batches"
        batch = trainer.precision_plugin.convert_input(batch)  # as Lightning's own loops do
        on_device: Batch = trainer.strategy.batch_to_device(batch)
        return on_device

    def _turns(self, trainer: Trainer, module: AbstractModule, batch: Batch) -> list[float]:
        seconds: list[float] = []
        begin = time.perf_counter()
        while len(seconds) < 2 or (len(seconds) <= TURNS and time.perf_counter() - begin < LIMIT_S):
            start = time.perf_counter()
            with trainer.precision_plugin.predict_step_context():
                module.predict_batch(batch, self.needs).to("cpu")
            seconds.append(time.perf_counter() - start)
        return seconds[1:]
