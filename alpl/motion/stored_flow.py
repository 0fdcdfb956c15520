"""Flow as it is kept: a file a video, read at the points that are asked for.

Axes: L frames of a video that take part, h and w cells, n points.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from alpl.boxes.footage import Footage
from alpl.motion.base import AbstractMotion, Step
from alpl.motion.estimators import CELL
from alpl.pool import Index


def file_of(folder: Path, video: int) -> Path:
    """Give the file of a video: ``Float16[L - 1 2 2 h w]``.

    Between each frame that takes part and the next one; forward and backward; x and y in pixels of the frame that the
    motion starts in; NaN where the next frame that takes part is not the next one of the recording.
    """
    return folder / f"{video:06d}.npy"


@final
class StoredFlow(AbstractMotion):
    """Reads flow; see :func:`file_of`.

    Args:
        folder: of the files.
        footage: of the data set.
        kept: ``Bool[N]`` the frames that the flow is of.
        sizes: ``Long[N 2]`` height and width of all frames.
        height: to which frames were scaled before; None where they were not.
    """

    def __init__(self, folder: Path, footage: Footage, kept: Tensor, sizes: Tensor, height: int | None) -> None:
        self.folder, self.footage, self.height = folder, footage, height
        self._sizes = sizes
        order = footage.order[kept[footage.order]]
        self._place = torch.full((len(footage),), -1)
        self._place[order] = torch.arange(len(order))
        counts = torch.bincount(footage.video[order], minlength=len(footage.names))
        self._starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        self._open = lru_cache(maxsize=8)(self._load)  # of many videos, as files are limited

    def sizes(self, images: Index) -> Tensor:
        """See the base class."""
        return self._sizes[images].float()

    def moved(self, images: Index, points: Tensor, step: Step) -> Tensor:
        """See the base class; between the centers of cells, flow is interpolated."""
        result = torch.full_like(points, torch.nan)
        video = self.footage.video[images]
        for number in video.unique().tolist():
            of_video = (video == number).nonzero().flatten()
            start, end = self._starts[number : number + 2].tolist()
            pair = self._place[images[of_video]] - start - int(step < 0)
            known = (self._place[images[of_video]] >= 0) & (pair >= 0) & (pair < end - start - 1)
            if bool(known.any()):
                chosen = of_video[known]
                way = self._read(number, pair[known], int(step < 0), images[chosen], points[chosen])
                result[chosen] = points[chosen] + way
        return result

    def _read(self, video: int, pair: Tensor, direction: int, images: Index, points: Tensor) -> Tensor:
        """``Float[n 2]``: bilinear between the four nearest centers of cells."""
        flow = self._open(video)
        scale = 1.0 if self.height is None else self.height / self._sizes[images, :1].double()
        at = points.double() * scale / CELL - 0.5
        last = torch.tensor([flow.shape[4] - 1, flow.shape[3] - 1])
        at = torch.minimum(at.clamp(min=0), last.double())
        low = at.floor().long()
        high = torch.minimum(low + 1, last)
        part = at - low
        found = torch.zeros_like(at)
        for x, y, weight in (
            (low[:, 0], low[:, 1], (1 - part[:, 0]) * (1 - part[:, 1])),
            (high[:, 0], low[:, 1], part[:, 0] * (1 - part[:, 1])),
            (low[:, 0], high[:, 1], (1 - part[:, 0]) * part[:, 1]),
            (high[:, 0], high[:, 1], part[:, 0] * part[:, 1]),
        ):
            cells = flow[pair.numpy(), direction, :, y.numpy(), x.numpy()]
            found += torch.from_numpy(cells.astype(np.float64)) * weight[:, None]
        return found.to(points.dtype)

    def _load(self, video: int) -> np.ndarray:
        flow: np.ndarray = np.load(file_of(self.folder, video), mmap_mode="r")
        return flow
