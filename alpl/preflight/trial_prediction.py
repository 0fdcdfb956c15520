"""What a model that has learned nothing predicts of a few images: before any training it shows what it will give."""

from __future__ import annotations

import torch

from alpl.data.base import AbstractPoolDataModule
from alpl.errors import ConfigError, DataError
from alpl.machine.seeding import undisturbed
from alpl.modules.base import AbstractModule
from alpl.modules.detector import AbstractDetector, Suppression
from alpl.pool import Index
from alpl.predictions import FIELDS, Need, Predictions

_FEW = Suppression(score_thresh=0.0, nms_thresh=0.5, pre_nms_top_k=20, max_detections=20)


def trial_prediction(module: AbstractModule, needs: Need, data: AbstractPoolDataModule, index: Index) -> Predictions:
    """Let a module predict a few images as the predict stage does, in this process and on the CPU.

    The global random generators stay where they were. A detector that has learned nothing is sure of nothing, so here
    its detections need no score.

    Args:
        module: one to be thrown away: its mode, its needs and its suppression are changed.
        needs: of the predictions, all of which the module provides.
        data: set up.
        index: ``Long[n]`` training images; of several batches the first is predicted.

    Raises:
        ConfigError: it fails, or does not give what it says that it provides.
        DataError: an image cannot be read.
    """
    name = type(module).__name__
    loader = data.observing(index).predict_dataloader()
    loader.num_workers, loader.timeout, loader.pin_memory = 0, 0, False
    module.eval()
    module.needs = needs
    if isinstance(module, AbstractDetector):
        module.acquisition = _FEW
    try:
        with undisturbed(), torch.no_grad():
            batch = data.on_after_batch_transfer(next(iter(loader)), 0)
            shown = module.predict_step(batch, 0)
    except (ConfigError, DataError):
        raise
    except Exception as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ConfigError(f"model {name} fails to predict images of the pool: {text}") from error
    _check(shown, needs, len(data.classes), name)
    return shown


def _check(shown: Predictions, needs: Need, num_classes: int, name: str) -> None:
    for row in FIELDS:
        if row.provider == "module" and row.need in needs and getattr(shown, row.name) is None:
            raise ConfigError(f"model {name} must give {row.need.names()}, as it says that it provides it, got none")
    for posterior in (shown.posterior, shown.views):
        if posterior is not None and posterior.foreground.shape[-1] != num_classes:
            number = posterior.foreground.shape[-1]
            raise ConfigError(f"model {name} must give probabilities of {num_classes} classes, got {number}")
