"""What a detector logs of its training: means of losses and shares."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import final

from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics import MeanMetric


@final
class TrainingMeans(nn.ModuleDict):
    """Means of numbers by name, over all batches of an epoch and all processes.

    Args:
        names: logged as ``train/<name>``.
    """

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__({name: MeanMetric(nan_strategy="disable") for name in names})

    def log(self, module: LightningModule, *, but: Collection[str] = ()) -> None:
        """Let the module that holds them log them at the end of the epoch; in every step, on every process.

        Args:
            module: holds them.
            but: names that are left out.
        """
        for name, mean in self.items():
            if name not in but:
                module.log(f"train/{name}", mean, on_step=False, on_epoch=True)  # type: ignore[arg-type]

    def note(self, name: str, value: Tensor) -> None:
        """Count a batch's number."""
        mean = self[name]
        assert isinstance(mean, MeanMetric), "all of them are means"
        mean.update(value.detach())
