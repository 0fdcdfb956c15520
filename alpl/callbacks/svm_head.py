"""Puts support vector machines in place of a classifier's last layer, when its fit ends (thesis sec. 5.4)."""

from __future__ import annotations

from typing import final

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from alpl.callbacks.inference import gather_rows, predict_batches
from alpl.errors import ConfigError
from alpl.modules.classifier import Classifier
from alpl.networks.linear_svm import Solver, check_svm, one_vs_rest
from alpl.predictions import Need


@final
class SvmHead(Callback):
    """Fits a linear SVM a class on the features of the labeled images, with the evaluation transform.

    The classifier's logits are their decision values from then on, and its class is that of the largest one. Whatever
    the fit did to the head before is lost: one epoch will do. All processes fit the same.

    Args:
        regularization: C.
        solver: see :func:`alpl.networks.linear_svm.one_vs_rest`.

    Raises:
        ConfigError: a setting is out of range.
    """

    def __init__(self, regularization: float = 5.0, solver: Solver = "linear_svc") -> None:
        check_svm(regularization, solver)
        self.regularization = regularization
        self.solver: Solver = solver

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse what has no such layer, or learns all of its features.

        Raises:
            ConfigError: it is so.
        """
        if not isinstance(pl_module, Classifier) or not pl_module.frozen:
            raise ConfigError(
                "callbacks.svm must be beside a frozen Classifier (model=resnet18_frozen), got "
                f"{type(pl_module).__name__}"
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fit them."""
        assert isinstance(pl_module, Classifier), "refused before"
        loader = trainer.datamodule.labeled_dataloader()  # type: ignore[attr-defined]
        targets = gather_rows(trainer, [batch.targets for batch in loader])
        parts = []
        for part in predict_batches(trainer, pl_module, loader, Need.IMAGE_FEATURES):
            assert part.image_features is not None, "they were asked for"
            parts.append(part.image_features)
        weight, bias = one_vs_rest(
            torch.from_numpy(gather_rows(trainer, parts)),
            torch.from_numpy(targets),
            pl_module.num_classes,
            regularization=self.regularization,
            solver=self.solver,
        )
        head = pl_module.network.head
        with torch.no_grad():
            head.weight.copy_(weight)
            head.bias.copy_(bias)
