"""What every module of the framework is: a LightningModule that says what it provides and gives Predictions."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeAlias, final

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim import Optimizer

from alpl.data.base import AbstractPoolDataModule
from alpl.data.batch import Batch
from alpl.data.task import Task
from alpl.errors import ConfigError
from alpl.predictions import Need, Predictions

MakeOptimizer: TypeAlias = Callable[..., Optimizer]
MakeScheduler: TypeAlias = Callable[[Optimizer], Any]


class AbstractModule(LightningModule, ABC):
    """Base of all modules.

    A subclass reads in this order: constructor, :attr:`provides`, ``training_step``, :meth:`predict_batch`,
    ``test_step`` and :meth:`test_results`.
    """

    needs: Need = Need.NOTHING
    """What ``predict_step`` gives; the loop sets it before it lets the trainer predict."""

    stage: int = 0
    """Which stage of an acquisition is predicted for; the loop sets it, too."""

    @property
    def looks_again(self) -> bool:
        """Whether it predicts otherwise in later stages of an acquisition than in the first."""
        return False

    static_parts: ClassVar[Sequence[str]] = ()
    """Its parts, networks from images to tensors of a row an image, that can be compiled for batches of one shape."""

    image_layers: int = 1
    """Of how many maps the image features are the averages, one after the other."""

    results: dict[str, Any]
    """The results of the last test."""

    @property
    @abstractmethod
    def provides(self) -> Need:
        """What :meth:`predict_batch` can give."""

    @property
    def asked(self) -> torch.nn.Module:
        """What of it predicts: its cost is the model's. All of it, where nothing is there for training alone."""
        return self

    @abstractmethod
    def predict_batch(self, batch: Batch, needs: Need) -> Predictions:
        """Predict one batch that went through the evaluation transform, on the batch's device.

        Only what ``needs`` names is computed beyond the forward pass.
        """

    @abstractmethod
    def test_results(self) -> dict[str, Any]:
        """Results over all test batches since the last call: names such as ``test/accuracy``, floats or lists."""

    @final
    def on_test_epoch_end(self) -> None:
        """Keep the results in :attr:`results`; here, while all processes and devices are still together."""
        self.results = self.test_results()

    @final
    def predict_step(self, batch: Batch, batch_idx: int) -> Predictions:
        """Predict a batch for :attr:`needs`, on the CPU."""
        return self.predict_batch(batch, self.needs).to("cpu")


class AbstractTrainableModule(AbstractModule):
    """A module with an optimizer and a schedule that come from the config.

    Args:
        optimizer: makes the optimizer from the parameters.
        scheduler: makes the learning rate schedule from the optimizer, or None.
        scheduler_interval: whether the schedule counts epochs or steps.
        warmup: makes another schedule, which counts steps in any case, or None; the rate is the product of both, so
            they must be schedules that multiply (such as ``LinearLR`` and ``MultiStepLR``).
    """

    task: ClassVar[Task] = Task.CLASSIFICATION
    """What it learns; detectors say otherwise."""

    tells_positives: ClassVar[bool] = False
    """Whether ``training_step`` can tell :class:`alpl.losses.positives.Positives`."""

    fused: bool = False
    """Whether the optimizer's step is one kernel, where torch has it; set before the optimizers are made."""

    wants_positives: bool = False
    """Whether it does; a callback that reads them sets it before the fit, else they would cost for nothing."""

    def __init__(
        self,
        *,
        optimizer: MakeOptimizer,
        scheduler: MakeScheduler | None = None,
        scheduler_interval: Literal["epoch", "step"] = "epoch",
        warmup: MakeScheduler | None = None,
    ) -> None:
        super().__init__()
        if scheduler_interval not in ("epoch", "step"):
            raise ValueError(f"scheduler_interval must be 'epoch' or 'step', got {scheduler_interval!r}")
        self._make_optimizer = optimizer
        self._make_scheduler = scheduler
        self._scheduler_interval = scheduler_interval
        self._make_warmup = warmup

    def check_data(self, data: AbstractPoolDataModule) -> None:
        """Make sure, before any training, that the data give what training needs.

        Raises:
            ConfigError: they do not.
        """

    def load_backbone(self, state: Mapping[str, Tensor]) -> None:
        """Start from a backbone that learned before.

        Raises:
            ConfigError: it is not of this backbone, or the module cannot start from one.
        """
        raise ConfigError(f"pretrained must be null for {type(self).__name__}, which starts from no such backbone")

    @classmethod
    @abstractmethod
    def ensemble(cls, members: Sequence[AbstractModule]) -> AbstractModule:
        """Give one module that asks several trained ones (at least one) together; its views are the members."""

    @final
    def configure_optimizers(self) -> Any:
        """Make the optimizer over all trainable parameters, and the schedules."""
        fused = {"fused": True} if self.fused and _can_fuse(self._make_optimizer) else {}
        optimizer = self._make_optimizer([p for p in self.parameters() if p.requires_grad], **fused)
        schedules = (
            [] if self._make_warmup is None else [{"scheduler": self._make_warmup(optimizer), "interval": "step"}]
        )
        if self._make_scheduler is None:
            return [optimizer], schedules
        scheduler = self._make_scheduler(optimizer)
        if getattr(scheduler, "T_max", 1) < 1:  # torch takes it, and jumps between the full learning rate and 0
            raise ConfigError(
                f"model.scheduler.T_max must be >= 1, got {scheduler.T_max}: a fit that counts steps "
                "(trainer.max_epochs=-1) needs its own, e.g. 'model.scheduler.T_max=${trainer.max_steps}' "
                "model.scheduler_interval=step"
            )
        return [optimizer], [*schedules, {"scheduler": scheduler, "interval": self._scheduler_interval}]


def _can_fuse(make: MakeOptimizer) -> bool:
    """Whether an optimizer knows the argument, and the config gives neither it nor what excludes it."""
    given = getattr(make, "keywords", {})  # of the partial that the config is
    return "fused" in inspect.signature(make).parameters and not {"fused", "foreach", "differentiable"} & given.keys()


def no_loss(module: torch.nn.Module) -> Tensor:
    """Give a zero that depends on every parameter: for a batch without a single labeled image.

    Under DDP all processes must reach the same backward pass, so skipping the step is no choice.
    """
    return sum((p.sum() * 0.0 for p in module.parameters() if p.requires_grad), torch.zeros((), device=_device(module)))


def _device(module: torch.nn.Module) -> torch.device:
    return next(module.parameters()).device
