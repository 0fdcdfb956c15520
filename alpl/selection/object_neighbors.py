"""The nearest objects of each object of a class, by faiss: all compared, or those of a few cells.

Axes: m objects of a class, F features, n neighbors.
"""

from __future__ import annotations

import logging
import math
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from alpl.errors import ConfigError
from alpl.machine.extras import installing
from alpl.selection import neighbors

log = logging.getLogger(__name__)

_CELLS_FROM = 20_000  # objects from which it pays to look into a few cells alone
_PER_CELL = 64  # objects that a center is the mean of; faiss itself would take 256
_SAMPLE = 256  # objects whose neighbors are compared with the true ones
_SEED = 1234  # of the k-means of the cells


def has_faiss() -> bool:
    """Whether faiss is installed."""
    return neighbors.faiss is not None


def check_faiss() -> None:
    """Make sure that faiss is there.

    Raises:
        ConfigError: it is not; names the extras that hold it.
    """
    if not has_faiss():
        raise ConfigError(
            "method faiss needs faiss, which is not installed: the extra cpu or gpu of alpl, "
            f"{installing('cpu')} or {installing('gpu')}"
        )


@final
class NearestObjects:
    """Finds the objects of a class that have the largest cosine with each of them, itself among them.

    Args:
        unit: ``Float32[m F]`` vectors of length 1 (or 0).
        number: n; fewer where the class has fewer.
        recall: share of the true neighbors that is to be found. 1: all are compared, O(m^2 F). Less, in classes of
            20,000 objects and more: k-means cells, and as many of them looked into as a sample of 256 objects needs
            to reach this share; the log says what it reached.

    Raises:
        ConfigError: faiss is not there.
    """

    def __init__(self, unit: Tensor, number: int, recall: float) -> None:
        check_faiss()
        self._unit = np.ascontiguousarray(unit.numpy(), dtype=np.float32)
        self.number = min(number, len(unit))
        self.reached = 1.0
        self._index: Any = None
        if recall < 1 and len(unit) >= _CELLS_FROM:
            self._index = _cells(self._unit)
            self._open_cells(recall)

    @property
    def has_cells(self) -> bool:
        """Whether only a few cells are looked into."""
        return self._index is not None

    def of(self, rows: slice) -> tuple[Tensor, Tensor]:
        """``Long[r n]`` and ``Float32[r n]``: the neighbors of some objects and their cosines, falling; -1 for none."""
        if self._index is None:
            cosines, found = self._compared(self._unit[rows])
        else:
            cosines, found = self._index.search(self._unit[rows], self.number)
        return torch.from_numpy(found.astype(np.int64)), torch.from_numpy(cosines)

    def _compared(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        faiss = neighbors.faiss
        cosines, found = faiss.knn(queries, self._unit, self.number, metric=faiss.METRIC_INNER_PRODUCT)
        return cosines, found

    def _open_cells(self, recall: float) -> None:
        """Look into more cells, up to all of them, until a sample finds what it should."""
        sample = self._unit[:: len(self._unit) // _SAMPLE]
        true = self._compared(sample)[1]
        self._index.nprobe = 1
        while True:
            found = self._index.search(sample, self.number)[1]
            shared = [len(np.intersect1d(one, other)) for one, other in zip(found, true, strict=True)]
            self.reached = sum(shared) / true.size
            if self.reached >= recall or self._index.nprobe >= self._index.nlist:
                break
            self._index.nprobe = min(2 * self._index.nprobe, self._index.nlist)
        log.info(
            "%d objects of a class in %d cells, %d looked into: recall %.3f",
            *(len(self._unit), self._index.nlist, self._index.nprobe, self.reached),
        )


def _cells(unit: np.ndarray) -> Any:
    """Divide the objects into about 2 sqrt m cells."""
    faiss = neighbors.faiss
    number = 2 * math.isqrt(len(unit))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(unit.shape[1]), unit.shape[1], number, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed, index.cp.max_points_per_centroid, index.cp.spherical = _SEED, _PER_CELL, True
    index.train(unit)
    index.add(unit)
    return index
