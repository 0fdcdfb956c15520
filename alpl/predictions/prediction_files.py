"""Predictions of a large pool, written batch by batch: they are never in memory as a whole.

118,000 images with 100 detections of 81 outputs are 3.8 GB a posterior.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from alpl.machine.files import GrowingArray, read_json, whole_folder, write_json
from alpl.predictions.predictions import Predictions

_BLOCK = 1024  # images of each process that are joined at a time


@final
class PredictionsWriter:
    """Writes what :meth:`alpl.predictions.Predictions.load` reads; made by :func:`writing`."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._files: dict[str, GrowingArray] = {}
        self.forms: dict[str, str | None] | None = None
        self.num_images = 0

    def append(self, part: Predictions) -> None:
        """Write the predictions of the next images.

        Raises:
            ValueError: the part has other fields than the first one.
        """
        if self.forms is None:
            self.forms = part.forms()
        if part.forms() != self.forms:
            raise ValueError(f"parts must have the same fields, got {self.forms} and {part.forms()}")
        for name, array in part.arrays().items():
            array = array + self.num_images if name == "row" else array
            if name in self._files:
                self._files[name].append(array)
            else:
                file = GrowingArray(self._folder / f"{name}.npy", array)
                self._files[name] = self._stack.enter_context(file)
        self.num_images += part.num_images


@contextmanager
def writing(folder: Path) -> Iterator[PredictionsWriter]:
    """Give a writer; its parts become ``folder``, whole, when the block ends, and nothing after an error.

    Without any part it becomes a folder of no fields, which only :func:`join` reads.
    """
    with whole_folder(folder) as temporary:
        with ExitStack() as stack:
            writer = PredictionsWriter(temporary, stack)
            yield writer
        write_json(temporary / "fields.json", writer.forms or {})


@final
class WritePredictions(Callback):
    """Hands every predicted batch of a trainer to :attr:`writer`."""

    writer: PredictionsWriter

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write."""
        self.writer.append(outputs)


def join(shards: Sequence[Path], folder: Path) -> None:
    """Join what several processes wrote, process r every ``len(shards)``-th image, and remove it.

    Args:
        shards: one folder a process, in their order; processes that had no image come last.
        folder: where the whole goes, images by ascending index.
    """
    parts = [Predictions.load(shard, memory_map=True) for shard in shards if read_json(shard / "fields.json")]
    with writing(folder) as writer:
        for start in range(0, max(part.num_images for part in parts), _BLOCK):
            block = Predictions.concat([part.slice(start, start + _BLOCK) for part in parts])
            writer.append(block.take(torch.argsort(block.index)))
    for shard in shards:
        shutil.rmtree(shard, ignore_errors=True)
