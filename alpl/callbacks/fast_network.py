"""Sets up what makes a network fast on its device, for as long as a trainer has it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import final

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn

from alpl.callbacks.static_shapes import StaticShapes, compiled_calls
from alpl.data.base import AbstractPoolDataModule
from alpl.errors import ConfigError
from alpl.machine.speed import Speed, short_products, unfilled_memory
from alpl.modules.base import AbstractModule, AbstractTrainableModule


@final
class FastNetwork(Callback):
    """Applies :class:`alpl.machine.speed.Speed` to a module before a trainer's work, and takes it back behind it.

    Args:
        speed: as configured.
        say: told of every compilation.
    """

    def __init__(self, speed: Speed, say: Callable[[str], None]) -> None:
        self.speed = speed
        self.say = say
        self._undo = ExitStack()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Apply; before the optimizers are made.

        Raises:
            ConfigError: a fused optimizer was asked for beside clipped gradients in mixed precision, which Lightning
                cannot do.
        """
        speed = self.speed.on(trainer.strategy.root_device)
        self._undo.enter_context(short_products(allowed=bool(speed.tf32)))
        self._undo.enter_context(unfilled_memory())
        if speed.channels_last:
            to_channels_last(pl_module)
        if isinstance(pl_module, AbstractTrainableModule):
            pl_module.fused = bool(speed.fused) and self._may_fuse(trainer)
        if speed.compile:
            self._compile(trainer, pl_module, speed.backend)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lay what a resumed optimizer remembers as the weights lie: fused steps want it so."""
        for optimizer in trainer.optimizers:
            for parameter, state in optimizer.state.items():
                for name, value in state.items():
                    if isinstance(value, Tensor) and value.shape == parameter.shape:
                        state[name] = _laid_as(value, parameter)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take it back."""
        self._undo.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take it back: Lightning tells callbacks no teardown then."""
        self._undo.close()

    def _may_fuse(self, trainer: Trainer) -> bool:
        if not (trainer.gradient_clip_val and isinstance(trainer.precision_plugin, MixedPrecision)):
            return True
        if self.speed.fused is True:
            raise ConfigError(
                "speed.fused must be auto or false where trainer.gradient_clip_val is set and trainer.precision is "
                f"mixed, as Lightning does not clip for a fused optimizer then, got {self.speed.fused}"
            )
        return False

    def _compile(self, trainer: Trainer, module: LightningModule, backend: str) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        sizes = data.static_sizes if isinstance(data, AbstractPoolDataModule) else None
        if sizes is None:  # batches of any shape
            return
        for part in module.modules():
            for name in part.static_parts if isinstance(part, AbstractModule) else ():
                network = part.get_submodule(name)
                if "forward" not in vars(network):  # an ensemble's rehearsal has one member twice
                    network.forward = StaticShapes(network, sizes, compiled_calls(backend), self.say)
                    self._undo.callback(delattr, network, "forward")


def to_channels_last(module: nn.Module) -> None:
    """Lay the weights of 2-D convolutions channel by channel, in place; maps follow their weights."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def _laid_as(value: Tensor, parameter: Tensor) -> Tensor:
    if value.stride() == parameter.stride():
        return value
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)
