"""Optical flow of all videos, estimated once for all runs on them: a product below ``paths.cache`` (thesis sec. 2.3.2).

Axes: L frames of a video that take part.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from alpl.boxes.footage import Footage
from alpl.boxes.objects import AbstractDetectionImages
from alpl.config.flow import FlowConfig
from alpl.data.scenes import SceneDataModule
from alpl.errors import ConfigError, DataError
from alpl.machine.files import read_array, write_array
from alpl.motion import AbstractFlowEstimator, StoredFlow
from alpl.motion.estimators import CELL
from alpl.motion.stored_flow import file_of
from alpl.pool import Index
from alpl.runs.fingerprint import FOOTAGE, LEFT_OUT, Fingerprint
from alpl.runs.products import Products, fault_of

KIND = "flow"


@final
class Flow:
    """The flow of a data set's videos.

    Args:
        estimator: estimates it.
        config: where it is kept.
        data: which is set up.
        fingerprint: of the data.
        device: that estimates.
        heard: hears of the work and of waiting; what it raises ends them.

    Raises:
        ConfigError: the data are no videos; or the flow is not there yet, and the estimator cannot work.
    """

    def __init__(
        self,
        estimator: AbstractFlowEstimator,
        config: FlowConfig,
        data: Any,
        fingerprint: Fingerprint,
        device: torch.device,
        heard: Callable[[str], None],
    ) -> None:
        if not isinstance(data, SceneDataModule) or data.footage is None:
            raise ConfigError(f"motion must be null on data that are no videos, got {config.content.get('_target_')}")
        self._estimator, self._device, self._heard = estimator, device, heard
        self._images, self._footage = data.training_images, data.footage
        self._kept = torch.ones(len(self._footage), dtype=torch.bool)
        self._kept[data.excluded] = False
        frames = {name: part.sha256 for name, part in fingerprint.parts.items() if _is_of_frames(name)}
        self._content = {**config.content, "frames": frames}
        self._products = Products(config.cache, heard)
        self._found: StoredFlow | None = None
        folder = config.cache / self.name
        if not folder.exists() or fault_of(folder) is not None:
            estimator.load()

    @property
    def name(self) -> str:
        """The product's, below ``paths.cache``."""
        return self._products.name(KIND, self._content)

    def get(self) -> StoredFlow:
        """Give the flow; estimate it where no run has done so before, or go on where one was killed."""
        if self._found is None:
            product = self._products.get(KIND, self._content, self._make)
            assert product is not None, "it waits"
            self._found = StoredFlow(
                product.folder, self._footage, self._kept, self._images.sizes, self._estimator.height
            )
        return self._found

    def _make(self, folder: Path) -> None:
        """Write the file of each video, whole or not at all; what a killed maker left is kept."""
        order = self._footage.order
        for video, name in enumerate(self._footage.names):
            path = file_of(folder, video)
            frames = order[int(self._footage.starts[video]) : int(self._footage.starts[video + 1])]
            frames = frames[self._kept[frames]]
            self._heard(f"optical flow of video {video + 1}/{len(self._footage.names)}: {name}")
            if not _is_there(path, frames):
                write_array(path, flow_of(self._estimator, self._images, self._footage, frames, self._device))


def flow_of(
    estimator: AbstractFlowEstimator,
    images: AbstractDetectionImages,
    footage: Footage,
    frames: Index,
    device: torch.device,
) -> np.ndarray:
    """Estimate the flow of one video; see :func:`alpl.motion.stored_flow.file_of`.

    Args:
        estimator: estimates it.
        images: of the data set.
        footage: of the data set.
        frames: ``Long[L]`` those of the video that take part, in their order.
        device: that estimates.

    Returns:
        ``Float16[L - 1 2 2 h w]``; ``[0 2 2 1 1]`` where there are fewer than two frames. NaN between frames of
        different sizes.
    """
    if len(frames) < 2:
        return np.zeros((0, 2, 2, 1, 1), dtype=np.float16)
    shown_size = _scaled(images.sizes[frames[0]], estimator.height)
    cells = [-(-side // CELL) for side in shown_size]
    flow = np.full((len(frames) - 1, 2, 2, *cells), np.nan, dtype=np.float16)
    sizes = images.sizes[frames]
    known = (footage.frame[frames].diff() == 1) & (sizes == sizes[0]).all(1)[1:] & (sizes == sizes[0]).all(1)[:-1]
    back = (sizes[0].flip(0).float() / torch.tensor(shown_size[::-1])).view(1, 2, 1, 1)
    for part in known.nonzero().flatten().split(estimator.batch_size):
        needed = torch.cat([part, part + 1]).unique()
        shown = torch.stack([_shown(images[int(frames[place])], shown_size) for place in needed]).to(device)
        first, second = (shown[torch.searchsorted(needed, places).to(device)] for places in (part, part + 1))
        for direction, pair in enumerate(((first, second), (second, first))):
            found = estimator.flow(*pair).cpu().float() * back
            flow[part.numpy(), direction] = found.numpy().astype(np.float16)
    return flow


def _shown(image: Tensor, size: tuple[int, int]) -> Tensor:
    """``UInt8[3 H W]`` -> ``Float[3 h w]``, 0 to 255."""
    pixels = image.float()
    if tuple(image.shape[1:]) == size:
        return pixels
    scaled: Tensor = F.interpolate(pixels[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]
    return scaled


def _scaled(size: Tensor, height: int | None) -> tuple[int, int]:
    high, wide = size.tolist()
    return (high, wide) if height is None else (height, max(1, round(wide * height / high)))


def _is_of_frames(name: str) -> bool:
    """Whether a part of the data's fingerprint tells of the frames, and not of what is annotated on them."""
    own = (name.startswith("training ") and not name.endswith("annotations")) or "of training " in name
    return own or name in (FOOTAGE, LEFT_OUT)


def _is_there(path: Path, frames: Index) -> bool:
    """Whether a killed maker had finished a video."""
    try:
        return path.exists() and len(read_array(path, memory_map=True)) == max(len(frames) - 1, 0)
    except DataError:
        return False
