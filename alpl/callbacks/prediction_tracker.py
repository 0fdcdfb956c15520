"""Prediction tracking: what the model says of every unlabeled image after every epoch (thesis sec. 3.3.1)."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from numpy.lib import format as npy

from alpl.callbacks.base import AbstractProvider
from alpl.callbacks.inference import gather_rows, predict_batches
from alpl.errors import ConfigError, DataError
from alpl.machine.files import read_array, write_header
from alpl.predictions import Need

HISTORY = "history.npy"
POSTERIORS = "history_posterior.npy"


@final
class PredictionTracker(AbstractProvider):
    """After every epoch, the predicted label of every unlabeled image, evaluation transform, on disk.

    Writes ``history.npy``, ``UInt8[E U]`` (``UInt16`` beyond 256 classes), columns in the order of
    ``pool.unlabeled``: CIFAR's 45,000 images and 100 epochs take 4.5 MB. One row is in memory at a time, and the
    file is a whole ``.npy`` after every epoch. An interrupted fit goes on from the rows of its checkpoint. The cost
    is one inference pass an epoch; nothing is drawn from the global random state, so training is the same with it
    and without.

    Args:
        posterior: also write ``history_posterior.npy``, ``Float16[E U C]``.
        every_n_epochs: the interval of the records; 1 in the thesis ("we perform this operation at every epoch").

    Raises:
        ConfigError: ``every_n_epochs`` is less than 1.
    """

    provides = Need.HISTORY
    field = "history"

    def __init__(self, posterior: bool = False, every_n_epochs: int = 1) -> None:
        if every_n_epochs < 1:
            raise ConfigError(f"callbacks.prediction_tracker.every_n_epochs must be >= 1, got {every_n_epochs}")
        self.posterior = posterior
        self.every_n_epochs = every_n_epochs
        self._folder: Path | None = None
        self._recorded = 0
        self._sums: dict[str, int] = {}

    def bind(self, folder: Path) -> None:
        """See the base class."""
        self._folder = folder
        self._recorded, self._sums = 0, {}  # load_state_dict sets them again where a fit is resumed

    def read(self, folder: Path) -> np.ndarray:
        """``Int[E U]``, memory-mapped."""
        return read_array(folder / HISTORY, memory_map=True)

    def state_dict(self) -> dict[str, Any]:
        """How many rows belong to the checkpoint, and the checksums (CRC-32) of their bytes."""
        return {"recorded": self._recorded, "sums": dict(self._sums)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on behind the rows of the checkpoint; later rows on disk are of epochs that are trained again.

        Raises:
            DataError: the rows on disk are not those that were recorded.
        """
        self._recorded = int(state_dict["recorded"])
        self._sums = dict(state_dict.get("sums", {}))  # none in checkpoints of earlier versions
        assert self._folder is not None, "the loop binds the callback before the fit"
        for name, told in self._sums.items():
            if _sum_of_rows(self._folder / name, self._recorded) != told:
                raise DataError(
                    f"{self._folder / name} must hold the {self._recorded} rows that were recorded, and does not: "
                    "delete the fit_*.ckpt beside it, and the same command begins that fit anew"
                )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a fit that would end before the first record.

        Raises:
            ConfigError: it would.
        """
        if 0 < (trainer.max_epochs or 0) < self.every_n_epochs:
            raise ConfigError(
                f"callbacks.prediction_tracker.every_n_epochs must be <= trainer.max_epochs = {trainer.max_epochs}, "
                f"got {self.every_n_epochs}"
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record."""
        if (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        assert self._folder is not None, "the loop binds the callback before the fit"
        needs = Need.POSTERIOR if self.posterior else Need.NOTHING
        loader = trainer.datamodule.tracking_dataloader()  # type: ignore[attr-defined]
        labels: list[torch.Tensor] = []
        probs: list[torch.Tensor] = []
        for part in predict_batches(trainer, pl_module, loader, needs):
            assert part.labels is not None, "every module gives labels"
            labels.append(part.labels)
            if self.posterior:
                assert part.posterior is not None, "it was asked for"
                probs.append(part.posterior.probs.half())
        rows = {HISTORY: gather_rows(trainer, labels)}
        if self.posterior:
            rows[POSTERIORS] = gather_rows(trainer, probs)
        if trainer.is_global_zero:
            for name, row in rows.items():
                if name == HISTORY:
                    num_classes = len(trainer.datamodule.classes)  # type: ignore[attr-defined]
                    row = row.astype(np.min_scalar_type(num_classes - 1))
                append_row(self._folder / name, row, self._recorded)
                self._sums[name] = zlib.crc32(np.ascontiguousarray(row).data, self._sums.get(name, 0))
        self._recorded += 1


def _sum_of_rows(path: Path, number: int) -> int:
    """CRC-32 of the first rows of an ``.npy`` file; one row is in memory at a time."""
    total = 0
    for row in read_array(path, memory_map=True)[:number]:
        total = zlib.crc32(np.ascontiguousarray(row).data, total)
    return total


def append_row(path: Path, row: np.ndarray, position: int) -> None:
    """Write ``row`` as row ``position`` of an ``.npy`` file, cutting off what stood there and behind.

    numpy leaves room in the header for the first axis to grow, so the header is rewritten in place, after the data
    is on the disk: at every moment the file is a whole array of the rows so far.

    Raises:
        ValueError: the file has fewer rows than ``position``, by its header or by its size, or rows of another shape
            or type.
    """
    if position == 0:
        with path.open("wb") as stream:
            write_header(stream, (0, *row.shape), row.dtype)
    with path.open("r+b") as stream:
        npy.read_magic(stream)
        shape, _, dtype = npy.read_array_header_1_0(stream)
        start, size = stream.tell(), os.fstat(stream.fileno()).st_size
        is_cut = size < start + position * row.nbytes  # else truncate() below would fill up with zeros, a class
        if shape[0] < position or shape[1:] != row.shape or dtype != row.dtype or is_cut:
            raise ValueError(
                f"{path} must hold {position} or more rows of {row.dtype} {list(row.shape)}, "
                f"holds {dtype} {list(shape)} in {size} bytes"
            )
    with path.open("r+b") as stream:
        data = np.ascontiguousarray(row)
        stream.seek(start)
        if shape[0] != position:  # rows of epochs that are trained again: first out of the header, then out of the file
            write_header(stream, (position, *row.shape), dtype)
            stream.flush()
        stream.truncate(start + position * data.nbytes)
        stream.seek(start + position * data.nbytes)
        stream.write(data.tobytes())
        stream.flush()
        os.fsync(stream.fileno())
        write_header(stream, (position + 1, *row.shape), dtype)
        stream.flush()
        os.fsync(stream.fileno())
