"""A network that is compiled once for each size of batch that counts, whatever the pool grows to.

Axes: B images of a batch, C channels, H and W pixels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from alpl.data.base import StaticSizes


@final
class CompiledCalls:
    """Calls networks compiled. One is enough for a process: what is compiled serves every network of the same make.

    Args:
        backend: of ``torch.compile``.
    """

    def __init__(self, backend: str) -> None:
        from torch._dynamo import lookup_backend  # as torch.compile itself does; here, as it takes seconds to import

        self.compilations: list[str] = []
        """What each was for, the first one first."""
        self._compile = lookup_backend(backend)
        # every network of a process is called by one function, and each needs three graphs or more
        torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
        self._call = torch.compile(_call, backend=self._counted, dynamic=False)

    def __call__(self, network: nn.Module, images: Tensor) -> Any:
        """Give ``network(images)``."""
        return self._call(network, images)

    def _counted(self, graph: Any, inputs: Any) -> Any:
        shapes = [list(value.shape) for value in inputs if isinstance(value, Tensor) and value.ndim == 4]
        grad = "training" if torch.is_grad_enabled() else "evaluation"
        images = next((shape for shape in shapes if shape[0] > 0), [])
        self.compilations.append(f"{grad}, {' x '.join(map(str, images))}")
        return self._compile(graph, inputs)


@cache
def compiled_calls(backend: str) -> CompiledCalls:
    """Give those of this process."""
    return CompiledCalls(backend)


@final
class StaticShapes:
    """A network's ``forward`` that goes through what is compiled for full batches, and only for them.

    In evaluation a smaller batch is filled up with its first image, and what comes of that is cut off: without a
    statistic over the batch the rows know nothing of each other. What is less than half of a batch goes through the
    network as it is, and so does any smaller one in training, where batch norm has such a statistic.

    Args:
        network: from ``[B C H W]`` to tensors that have a row an image.
        sizes: of full batches.
        calls: compiles.
        say: told of every compilation.
    """

    def __init__(
        self, network: nn.Module, sizes: StaticSizes, calls: CompiledCalls, say: Callable[[str], None]
    ) -> None:
        self.network, self.sizes, self.calls, self.say = network, sizes, calls, say

    def __call__(self, images: Tensor) -> Any:
        """Give what the network gives."""
        size = self.sizes.training if self.network.training else self.sizes.evaluation
        number = len(images)
        if size is None or not (number == size or (not self.network.training and size / 2 <= number < size)):
            return type(self.network).forward(self.network, images)
        before = len(self.calls.compilations)
        filled = images if number == size else torch.cat([images, images[:1].expand(size - number, *images.shape[1:])])
        found = self.calls(self.network, filled)
        for place, what in enumerate(self.calls.compilations[before:], before + 1):
            self.say(f"compiled the network for {what} (compilation {place} of this process)")
        return found if number == size else tree_map(lambda rows: rows[:number], found)

    def __deepcopy__(self, memo: dict[int, Any]) -> StaticShapes:
        """Give that of a copied network, as callbacks make one that average weights."""
        return StaticShapes(copy.deepcopy(self.network, memo), self.sizes, self.calls, self.say)


def _call(network: nn.Module, images: Tensor) -> Any:
    return type(network).forward(network, images)
