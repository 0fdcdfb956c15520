"""The plan of the matrix: every acquisition with every model, checked as a run checks itself before its training.

What cells have in common is done once: data that several models read, a model's trial prediction for the same needs, an
acquisition's rehearsal on predictions of the same kind.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import final

import torch
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from alpl.acquisition.base import AbstractAcquisition
from alpl.commands.matrix_cells import Cell, Column
from alpl.commands.messages import one_line
from alpl.commands.sweep import compose_job, set_values, split_values
from alpl.config.compose import CONF
from alpl.data.base import AbstractPoolDataModule
from alpl.errors import ConfigError
from alpl.experiment import Experiment, make_experiment
from alpl.modules.base import AbstractTrainableModule
from alpl.predictions import Need, Predictions
from alpl.preflight.checks import Rehearsing, check_needs, check_rehearsal, missing_needs, predictor
from alpl.preflight.config import check_arguments, check_config
from alpl.preflight.rehearsal import kind_of, rehearse
from alpl.preflight.replaced import settle
from alpl.preflight.trial_prediction import trial_prediction

REMEDIES: Mapping[Need, tuple[str, ...]] = {
    Need.VIEWS: ("num_members=2",),
    Need.PREDICTED_LOSS: ("method=llal",),
    Need.LABELEDNESS: ("partner=vaal",),
    Need.FOOTAGE: ("data=digit_videos",),
    Need.MOTION: ("motion=block_matching",),
    Need.FEATURES: ("model.features={_target_:alpl.modules.detection_features.RoiFeatures,level:1}",),
}
"""What gives a need that a model does not provide by itself, where the model takes it."""

_TRIED = torch.arange(2)  # dataset indices of the images of trial predictions


def plan(names: Sequence[str], over: Sequence[Column]) -> list[Cell]:
    """Check every acquisition with every model as a run does before its training; nothing is trained."""
    leaves, cells, shared = {}, [], _Shared()
    base = composed(["acquisition=random"])
    for name in names:
        try:
            leaves[name] = _leaf(name, base)
        except ConfigError as error:  # it is told more on the command line, for example which run to repeat
            cells += [Cell(name, column, "cannot", one_line(error)) for column in over]
    with _one_thread():
        return cells + [cell for column in over for cell in _Plan(column, shared).cells(leaves)]


def composed(overrides: Sequence[str]) -> DictConfig:
    """Compose the config of a run; what differs in plain values only, as remedies mostly do, is composed once."""
    common, values = split_values(overrides)
    config: DictConfig = pickle.loads(_composed(common))
    set_values(config, values)
    settle(config, overrides)
    return config


@cache
def _composed(overrides: tuple[str, ...]) -> bytes:
    config = compose_job(overrides)
    with open_dict(config):
        del config["hydra"]
    return pickle.dumps(config)


@final
@dataclass
class _Shared:
    """What the models of a plan share.

    Args:
        data: a data module's config as text -> it, set up.
        acquisitions: an acquisition's config as text -> it.
        rehearsed: an acquisition's config as text, and the kind of predictions -> its fault there, "" for none.
    """

    data: dict[str, AbstractPoolDataModule] = field(default_factory=dict)
    acquisitions: dict[str, AbstractAcquisition] = field(default_factory=dict)
    rehearsed: dict[tuple[object, ...], str] = field(default_factory=dict)


@final
@dataclass
class _Parts:
    """A run's parts, made of a model's overrides and maybe a remedy.

    Args:
        shown: what the model predicts of two images, by what is asked of it.
    """

    config: DictConfig
    experiment: Experiment
    module: AbstractTrainableModule
    shown: dict[Need, Predictions] = field(default_factory=dict)

    def trial(self, asked: Need) -> Predictions:
        """Let the model predict, once for the same needs."""
        if asked not in self.shown:
            module = predictor(self.experiment, self.module)
            self.shown[asked] = trial_prediction(module, asked, self.experiment.data, _TRIED)
        return self.shown[asked]


@final
class _Plan:
    """All acquisitions with one model."""

    def __init__(self, column: Column, shared: _Shared) -> None:
        self._column, self._shared = column, shared
        self._made: dict[tuple[str, ...], _Parts | None] = {}

    def cells(self, leaves: Mapping[str, DictConfig]) -> list[Cell]:
        """Check them."""
        return [self._cell(name, leaf) for name, leaf in leaves.items()]

    def _cell(self, name: str, leaf: DictConfig) -> Cell:
        """Check the model as it is, then with what gives the needs that it does not provide."""
        missing, reason = self._refusal(leaf, ())
        remedy = tuple(text for need, texts in REMEDIES.items() if need in missing for text in texts)
        if remedy and self._remedied(remedy):
            missing, reason = self._refusal(leaf, remedy)
        if not missing and not reason:
            return Cell(name, self._column, "declared", remedy=remedy)
        return Cell(name, self._column, "cannot", missing.names() if missing else reason)

    def _refusal(self, leaf: DictConfig, remedy: tuple[str, ...]) -> tuple[Need, str]:
        """Give the needs that are not met, or the message of another check; nothing and "" where all pass."""
        parts = self._remedied(remedy)
        assert parts is not None, "the caller asks only where the model takes the remedy"
        parts.config.acquisition = OmegaConf.to_container(leaf, resolve=False)
        text = OmegaConf.to_yaml(parts.config.acquisition, resolve=True)
        made = self._shared.acquisitions
        try:
            acquisition = made.get(text) or made.setdefault(
                text, instantiate(parts.config.acquisition, _convert_="all")
            )
            experiment = replace(parts.experiment, acquisition=acquisition)
            if missing := missing_needs(experiment, acquisition.needs, parts.module):
                return missing, ""
            check_needs(experiment, acquisition.needs, parts.module)
            check_rehearsal(
                *(experiment, acquisition.needs, parts.module, _TRIED),
                trial=parts.trial,
                rehearsing=self._rehearsing(text),
            )
            return Need.NOTHING, ""
        except ConfigError as error:
            return Need.NOTHING, one_line(error)

    def _rehearsing(self, text: str) -> Rehearsing:
        """Give what rehearses an acquisition, by its config as text, once for predictions of one kind.

        What it makes raises ConfigError.
        """

        def rehearsing(
            acquisition: AbstractAcquisition, shown: Predictions | None, number: int, *, is_detection: bool
        ) -> None:
            key, known = (text, None if shown is None else kind_of(shown), number, is_detection), self._shared.rehearsed
            if key not in known:
                try:
                    rehearse(acquisition, shown, number, is_detection=is_detection)
                    known[key] = ""
                except ConfigError as error:
                    known[key] = one_line(error)
            if known[key]:
                raise ConfigError(known[key])

        return rehearsing

    def _remedied(self, remedy: tuple[str, ...]) -> _Parts | None:
        """Make the parts with a remedy; None where the model does not take it."""
        if remedy not in self._made:
            try:
                self._made[remedy] = _make((*self._column.overrides, *remedy), self._shared)
            except (ConfigError, HydraException):
                if not remedy:
                    raise
                self._made[remedy] = None
        return self._made[remedy]


def _make(overrides: Sequence[str], shared: _Shared) -> _Parts:
    """Make config, parts and module; with data that was read before where it is the same."""
    config = composed([*overrides, "acquisition=random"])
    check_config(config)
    experiment = make_experiment(config)
    text = OmegaConf.to_yaml(config.data, resolve=True)
    if text not in shared.data:
        experiment.data.prepare_data()
        experiment.data.setup("fit")
        shared.data[text] = experiment.data
    experiment = replace(experiment, data=shared.data[text])
    return _Parts(config, experiment, experiment.make_module(**experiment.data.module_arguments))


def _leaf(name: str, base: DictConfig) -> DictConfig:
    """Give the config of an acquisition, with all names in it checked, in the place of the one in ``base``."""
    leaf = OmegaConf.load(CONF / "acquisition" / f"{name}.yaml")
    if "defaults" in leaf:  # only Hydra can read it
        leaf = composed([f"acquisition={name}"]).acquisition
    base.acquisition = leaf
    found: DictConfig = base.acquisition
    for missing in sorted(OmegaConf.missing_keys(found)):
        raise ConfigError(f"{missing} must be given, the config leaves it open")
    check_arguments(OmegaConf.to_container(found, resolve=True), "acquisition")
    return found


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: two images are no work for more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
