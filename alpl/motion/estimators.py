"""Estimators of optical flow between two frames, on a grid of 8 x 8 pixels.

Axes: B pairs of frames, H and W pixels, h and w cells of 8 x 8 pixels.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alpl.errors import ConfigError

CELL = 8
"""Pixels of a cell's side: flow of 129,000 frames of 400 x 300 is 2 GB so, and would be 124 GB at full resolution."""
_LEAST_SIDE = 128  # pixels: torchvision's RAFT takes no smaller images


class AbstractFlowEstimator(ABC):
    """Estimates where the pixels of one frame are in another one.

    Args:
        height: to which frames are scaled before, aspect kept; None to leave them as they are.
        batch_size: pairs of frames at a time.

    Raises:
        ConfigError: a number is below 1.
    """

    def __init__(self, height: int | None, batch_size: int) -> None:
        for name, value in (("height", height), ("batch_size", batch_size)):
            if value is not None and value < 1:
                raise ConfigError(f"motion.{name} must be >= 1, got {value}")
        self.height, self.batch_size = height, batch_size

    @abstractmethod
    def load(self) -> None:
        """Fetch what estimating needs, e.g. weights, so that it fails before any training if at all.

        Raises:
            ConfigError: it cannot be had.
        """

    @abstractmethod
    def flow(self, first: Tensor, second: Tensor) -> Tensor:
        """Estimate.

        Args:
            first: ``Float[B 3 H W]``, RGB, 0 to 255.
            second: likewise, on the same device.

        Returns:
            ``Float[B 2 h w]``: x and y in pixels that each cell of ``first`` moves by, mean over the cell.
        """


@final
class RaftFlow(AbstractFlowEstimator):
    """RAFT (Teed and Deng 2020) of torchvision. The thesis takes PWC-Net, which torchvision does not have.

    Args:
        name: ``raft_small`` or ``raft_large``.
        weights: a weights enum of torchvision by name (C_T_V2; C_T_SKHT_V2 of the large one), which torchvision
            fetches where it is not cached; None for random numbers.
        num_flow_updates: iterations; the last one's flow counts.
        height: see the base class.
        batch_size: see the base class.

    Raises:
        ConfigError: the name or the number of iterations is not one of these, or see the base class.
    """

    def __init__(
        self,
        name: Literal["raft_small", "raft_large"] = "raft_small",
        weights: str | None = "C_T_V2",
        num_flow_updates: int = 12,
        height: int | None = 300,
        batch_size: int = 16,
    ) -> None:
        super().__init__(height, batch_size)
        if name not in ("raft_small", "raft_large"):
            raise ConfigError(f"motion.name must be raft_small or raft_large, got {name!r}")
        if num_flow_updates < 1:
            raise ConfigError(f"motion.num_flow_updates must be >= 1, got {num_flow_updates}")
        self.name, self.weights, self.num_flow_updates = name, weights, num_flow_updates
        self._network: nn.Module | None = None

    def load(self) -> None:
        """Make the network; see the base class."""
        if self._network is not None:
            return
        from torchvision.models import get_model

        try:
            self._network = get_model(self.name, weights=self.weights).eval()
        except (KeyError, ValueError, AttributeError) as error:
            raise ConfigError(
                f"motion.weights must be known to torchvision for {self.name}, got {self.weights!r}"
            ) from error
        except OSError as error:  # no network, and no cache
            raise ConfigError(
                f"motion.weights={self.weights} of {self.name} must be in torchvision's cache or to be fetched: {error}"
            ) from error

    @torch.no_grad()
    def flow(self, first: Tensor, second: Tensor) -> Tensor:
        """See the base class; frames are padded below and to the right, and pixels scaled to [-1, 1]."""
        self.load()
        assert self._network is not None
        network = self._network.to(first.device)
        height, width = first.shape[2:]
        padded = [max(_LEAST_SIDE, math.ceil(side / CELL) * CELL) for side in (height, width)]
        pads = (0, padded[1] - width, 0, padded[0] - height)
        shown = [F.pad(frame, pads, mode="replicate") / 127.5 - 1 for frame in (first, second)]
        found: Tensor = network(*shown, num_flow_updates=self.num_flow_updates)[-1]
        cells = F.avg_pool2d(found, CELL)
        return cells[:, :, : math.ceil(height / CELL), : math.ceil(width / CELL)]


@final
class BlockMatching(AbstractFlowEstimator):
    """Where the surroundings of each cell look most alike: whole pixels, no weights; of ties the shortest way.

    Args:
        radius: pixels that a cell is looked for in each direction.
        block: pixels of the compared square's side around the cell's center; even.
        height: see the base class.
        batch_size: see the base class.

    Raises:
        ConfigError: a number is out of range.
    """

    def __init__(self, radius: int = 6, block: int = 16, height: int | None = None, batch_size: int = 16) -> None:
        super().__init__(height, batch_size)
        if radius < 1:
            raise ConfigError(f"motion.radius must be >= 1, got {radius}")
        if block < CELL or block % 2:
            raise ConfigError(f"motion.block must be even and >= {CELL}, got {block}")
        self.radius, self.block = radius, block

    def load(self) -> None:
        """It needs nothing."""

    @torch.no_grad()
    def flow(self, first: Tensor, second: Tensor) -> Tensor:
        """See the base class; beyond its border a frame goes on as it is there."""
        height, width = first.shape[2:]
        reach, around = self.radius, (self.block - CELL) // 2
        below, right = -height % CELL, -width % CELL
        wide = F.pad(second, (reach, reach, reach, reach), mode="replicate")
        least: Tensor | None = None
        best = first.new_zeros(0)
        sides = range(-reach, reach + 1)
        for y, x in sorted(((y, x) for y in sides for x in sides), key=lambda way: (way[0] ** 2 + way[1] ** 2, way)):
            moved = wide[:, :, reach + y : reach + y + height, reach + x : reach + x + width]
            difference = (first - moved).abs().mean(1, keepdim=True)
            difference = F.pad(difference, (around, around + right, around, around + below), mode="replicate")
            cost = F.avg_pool2d(difference, self.block, stride=CELL)
            way = first.new_tensor([x, y]).view(1, 2, 1, 1).expand(-1, -1, *cost.shape[2:])
            if least is None:
                least, best = cost, way.repeat(len(first), 1, 1, 1)
                continue
            nearer = cost < least
            least, best = torch.where(nearer, cost, least), torch.where(nearer, way, best)
        return best
