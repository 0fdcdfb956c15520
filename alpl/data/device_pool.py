"""Small images that lie on a GPU whole, so that batches are gathered there."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from alpl.errors import ConfigError


@final
class DevicePool:
    """Sets of images on a device, copied there once; shared by all views of a data module.

    Args:
        limit: bytes of all sets together, beyond which a set stays where it is; 0: none moves.

    Raises:
        ConfigError: ``limit`` is negative or no int.
    """

    def __init__(self, limit: int) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
            raise ConfigError(f"data.device_pool_bytes must be an int >= 0, got {limit!r}")
        self.limit = limit
        self._there: dict[tuple[str, torch.device], Tensor] = {}

    def of(self, name: str, images: Tensor, device: torch.device) -> Tensor:
        """Give a set where its batches should be gathered: on the device, or, if it has no room there, as it is.

        Args:
            name: of the set.
            images: ``UInt8[N C H W]`` on the CPU.
            device: of the network.
        """
        if device.type == "cpu":
            return images
        if (name, device) not in self._there:
            taken = sum(each.nbytes for (_, where), each in self._there.items() if where == device)
            if taken + images.nbytes > self.limit:
                return images
            self._there[name, device] = images.to(device)
        return self._there[name, device]
