"""Checks of a run's parts against each other, before any training."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from lightning.pytorch import Trainer

from alpl.data.task import Task
from alpl.errors import ConfigError
from alpl.experiment import Experiment
from alpl.machine.files import write_sealed
from alpl.modules.base import AbstractModule, AbstractTrainableModule
from alpl.pool import Index
from alpl.predictions import FROM_MODULE, Need, Predictions
from alpl.predictions.fields import hint_for, needs_from
from alpl.preflight.loaders import check_whole_loaders
from alpl.preflight.rehearsal import rehearse
from alpl.preflight.trial_prediction import trial_prediction
from alpl.runs.fingerprint import FILE, Fingerprint, check_same_data
from alpl.runs.journal import FILE as JOURNAL
from alpl.runs.journal import read_journal

log = logging.getLogger("alpl")

Rehearsing: TypeAlias = Callable[..., None]
"""Called as :func:`alpl.preflight.rehearsal.rehearse` is."""


def check_needs(experiment: Experiment, needs: Need, module: AbstractTrainableModule) -> None:
    """Make sure that everything needed is provided.

    Args:
        experiment: the run's parts.
        needs: of the acquisition, and of what is recorded beside it.
        module: one that the experiment made.

    Raises:
        ConfigError: it is not.
    """
    from_module = predictor(experiment, module).provides
    for name, labeler in (("pseudo_labels", experiment.pseudo_labels), ("learner.labeler", experiment.learner.labeler)):
        if labeler is not None and (missing := missing_needs(experiment, labeler.needs, module)):
            raise ConfigError(
                f"{name} {type(labeler).__name__} needs {missing.names()}, which the model {type(module).__name__} "
                f"does not provide (it provides {from_module.names()}){_hint(missing, module)}"
            )
    if missing := missing_needs(experiment, needs, module):
        raise ConfigError(
            f"acquisition {type(experiment.acquisition).__name__} needs {missing.names()}, which neither the model "
            f"{_name(experiment, module)} (it provides {from_module.names()}) nor a callback provides"
            f"{_hint(missing, module)}"
        )
    if wrong := experiment.acquisition.image_layers - {module.image_layers}:
        hint = "; model.image_feature_source=pyramid gives those of all maps" if module.image_layers == 1 else ""
        raise ConfigError(
            f"num_layers must be {module.image_layers}, the maps that the image features are of in "
            f"{type(module).__name__}, got {min(wrong)}{hint}"
        )
    if experiment.informativeness and module.task is not Task.CLASSIFICATION:
        raise ConfigError(
            f"informativeness must be false for {type(module).__name__}, as it compares one class an image, got true"
        )


def check_rehearsal(
    experiment: Experiment,
    needs: Need,
    module: AbstractTrainableModule,
    images: Index,
    *,
    trial: Callable[[Need], Predictions] | None = None,
    rehearsing: Rehearsing = rehearse,
) -> None:
    """Let the module predict a few images, and the acquisition choose from made-up predictions of that kind.

    Args:
        experiment: the run's parts.
        needs: as for :func:`check_needs`, which they have passed.
        module: one that the experiment made, to be thrown away afterwards.
        images: ``Long[n]`` dataset indices, at least one.
        trial: gives what the module predicts of them, where that is known from another check.
        rehearsing: lets the acquisition choose, or says what is known from another check.

    Raises:
        ConfigError: one of them fails, or breaks its contract.
        DataError: an image cannot be read.
    """
    predicting = predictor(experiment, module)
    asked = needs & FROM_MODULE
    shown = None
    if asked:
        shown = trial(asked) if trial else trial_prediction(predicting, asked, experiment.data, images)
    if experiment.acquisition.can_rehearse:
        is_detection = Need.BOXES in predicting.provides
        rehearsing(experiment.acquisition, shown, len(experiment.data.classes), is_detection=is_detection)


def predictor(experiment: Experiment, module: AbstractTrainableModule) -> AbstractModule:
    """Give a module that predicts as the run's does: of an ensemble, all members are the one that is given."""
    asked = len(experiment.learner.asked)
    return module if asked == 1 else module.ensemble([module] * asked)


def missing_needs(experiment: Experiment, needs: Need, module: AbstractTrainableModule) -> Need:
    """Give what of ``needs`` neither the module nor a callback nor the loop provides."""
    provided = predictor(experiment, module).provides | Need.LABELED | needs_from("data", "oracle")
    for provider in experiment.providers:
        provided |= provider.provides
    if experiment.data.footage is None:
        provided &= ~Need.FOOTAGE
    elif experiment.motion:
        provided |= Need.MOTION
    if experiment.partner:
        provided |= experiment.partner.provides
    if Need.BOXES in module.provides:  # a history is of one class an image, and a detector tells none
        provided &= ~Need.HISTORY
    if not module.tells_positives:
        provided &= ~Need.DIFFICULTY
    return needs & ~provided


def check_settings(module: AbstractTrainableModule, make_trainer: Callable[[], Trainer]) -> Trainer:
    """Make what is made again in every fit: a value that it refuses must not wait until then; give the trainer.

    Raises:
        ConfigError: the trainer, optimizer or schedule refuses its settings, or the fit would have no end or no epoch,
            or loaders would be cut.
    """
    trainer = checked_trainer(make_trainer, "trainer")
    epochs, steps = trainer.max_epochs, trainer.max_steps
    if isinstance(epochs, bool) or not isinstance(epochs, int) or not (epochs > 0 or epochs == -1):
        raise ConfigError(f"trainer.max_epochs must be an int > 0, or -1 beside trainer.max_steps, got {epochs!r}")
    if epochs == -1 and not steps > 0:
        raise ConfigError(f"trainer.max_steps must be > 0 where trainer.max_epochs is -1, got {steps!r}")
    try:
        module.configure_optimizers()
    except ConfigError:
        raise
    except Exception as error:
        message = f"model.optimizer or model.scheduler refuses its settings: {type(error).__name__}: {error}"
        raise ConfigError(message) from error
    return trainer


def checked_trainer(make_trainer: Callable[[], Trainer], place: str) -> Trainer:
    """Make a trainer whose loaders stay whole.

    Args:
        make_trainer: makes it.
        place: of its flags in the config, for the message.

    Raises:
        ConfigError: it refuses its settings, or see :func:`alpl.preflight.loaders.check_whole_loaders`.
    """
    try:
        trainer = make_trainer()
    except Exception as error:
        raise ConfigError(f"{place} refuses its settings: {type(error).__name__}: {error}") from error
    check_whole_loaders(trainer, place)
    return trainer


def check_data(fingerprint: Fingerprint, folder: Path, *, may_write: bool) -> None:
    """Hold a run that goes on to the data that it began with; its key does not say where the data came from.

    Args:
        fingerprint: of the data that there are now.
        folder: of the run.
        may_write: whether this process notes it where it is not there yet.

    Raises:
        ConfigError, DataError: see :func:`alpl.runs.fingerprint.check_same_data`.
    """
    if check_same_data(folder, fingerprint) or not may_write:
        return
    if (folder / FILE).exists():
        log.warning(
            "%s is of an earlier version of alpl: the data of now are taken for those that the run began with",
            folder / FILE,
        )
    elif read_journal(folder / JOURNAL):
        log.warning("%s is gone: the data of now are taken for those that the run began with", folder / FILE)
    write_sealed(folder / FILE, fingerprint.as_json())


def _name(experiment: Experiment, module: AbstractTrainableModule) -> str:
    members = len(experiment.learner.asked)
    return type(module).__name__ + (f" in an ensemble of num_members={members}" if members > 1 else "")


def _hint(missing: Need, module: AbstractTrainableModule) -> str:
    """Say what gives the first need that is missing."""
    if Need.HISTORY in missing and Need.BOXES in module.provides:
        return "; a detector tells no one class an image"
    if missing in module.provides:
        return "; a single network (num_members=1) provides it"
    return f"; {hint}" if (hint := hint_for(missing, is_detection=Need.BOXES in module.provides)) else ""
