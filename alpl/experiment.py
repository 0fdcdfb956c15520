"""All parts of one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from hydra.utils import instantiate
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from alpl.acquisition import AbstractAcquisition, AbstractPseudoLabeler
from alpl.callbacks.base import AbstractProvider
from alpl.config.first_cycle import FirstCycleConfig, first_cycle_config
from alpl.config.flow import FlowConfig, flow_config
from alpl.config.partial_parts import check_not_set
from alpl.config.pretrained import PretrainedConfig, pretrained_config
from alpl.data.base import AbstractPoolDataModule
from alpl.errors import ConfigError
from alpl.labeling.oracle import AbstractOracle
from alpl.labeling.schedule import Schedule
from alpl.learning import AbstractLearner, Members
from alpl.loggers.base import AbstractRunLogger
from alpl.machine.speed import Speed, settled_precision
from alpl.modules.base import AbstractTrainableModule
from alpl.modules.partner import Partner
from alpl.motion import AbstractFlowEstimator

OURS = frozenset(
    {"callbacks", "logger", "use_distributed_sampler", "enable_checkpointing", "enable_progress_bar"}
    | {"enable_model_summary", "num_sanity_val_steps", "default_root_dir"}
)
"""Arguments of the trainer that the loop sets itself."""


@dataclass(frozen=True)
class Experiment:
    """All parts of one run, made from the config.

    Args:
        data: the data module.
        make_module: makes a fresh module from the data's ``module_arguments``.
        schedule: initial set and budgets.
        acquisition: who is chosen.
        make_oracle: makes the oracle from the training targets.
        providers: callbacks that record for acquisitions; attached where needed.
        make_trainer: makes a Lightning trainer from its callbacks and the like.
        logger: hears of the run.
        seed: of everything that is drawn.
        learner: what is trained in a cycle: a network, an ensemble, a teacher and a student.
        callbacks: make a callback afresh for each fit of the task's model, by the callback's name.
        partner: another model that is trained beside it and asked about images, or None.
        pseudo_labels: makes targets for unlabeled images of what the last cycle's model was sure of, or None.
        informativeness: record for every cycle the utility of each unlabeled image and whether the model was right
            on it (thesis sec. 3.3.2). The true labels are used for nothing else.
        checkpoint_every_s: least seconds between two checkpoints of a fit.
        gallery: queried images of each cycle that are pictured with their detections; 0 for none.
        embedding: unlabeled images of each cycle whose features are kept beside those of the query; 0 for none.
        keep_models: keep each cycle's weights; else only the last cycle's.
        keep_predictions: keep the predictions that the acquisition saw.
        pretrained: where the weights are that a backbone starts from in each fit, or None.
        motion: estimates optical flow between the frames of videos, for acquisitions that need it; or None.
        flow: where that flow is kept; None beside no estimator.
        first_cycle: what runs agree in that share their first cycle's training; None to train it in any case.
        speed: what is on that makes a GPU fast.

    Raises:
        ConfigError: a value is out of range.
    """

    data: AbstractPoolDataModule
    make_module: Callable[..., AbstractTrainableModule]
    schedule: Schedule
    acquisition: AbstractAcquisition
    make_oracle: Callable[..., AbstractOracle]
    providers: Sequence[AbstractProvider]
    make_trainer: Callable[..., Trainer]
    logger: AbstractRunLogger
    seed: int
    learner: AbstractLearner = field(default_factory=Members)
    callbacks: Mapping[str, Callable[[], Callback]] = field(default_factory=dict)
    partner: Partner | None = None
    pseudo_labels: AbstractPseudoLabeler | None = None
    informativeness: bool = False
    gallery: int = 0
    embedding: int = 0
    checkpoint_every_s: float = 60.0
    keep_models: bool = True
    keep_predictions: bool = False
    first_cycle: FirstCycleConfig | None = None
    pretrained: PretrainedConfig | None = None
    motion: AbstractFlowEstimator | None = None
    flow: FlowConfig | None = None
    speed: Speed = field(default_factory=Speed)

    def __post_init__(self) -> None:
        if self.pseudo_labels is not None and self.learner.labeler is not None:
            raise ConfigError("pseudo_labels must be null where the learner makes its own, got both")
        if self.gallery < 0:
            raise ConfigError(f"gallery must be >= 0, got {self.gallery}")
        if self.embedding < 0:
            raise ConfigError(f"embedding must be >= 0, got {self.embedding}")
        if self.checkpoint_every_s < 0:
            raise ConfigError(f"checkpoint_every_s must be >= 0, got {self.checkpoint_every_s}")


def make_experiment(config: DictConfig) -> Experiment:
    """Make the parts that a config names.

    Raises:
        ConfigError: the acquisition is none, the trainer is given what the loop sets itself, or what is frozen has not
            learned anything.
    """
    make = partial(instantiate, _convert_="all")
    check_not_set(config.trainer, "trainer", OURS)
    _check_frozen(config)
    providers, callbacks = _make_callbacks(config, make)
    acquisition = make(config.acquisition)
    if not isinstance(acquisition, AbstractAcquisition):
        raise ConfigError(f"acquisition must be an AbstractAcquisition, got {config.acquisition._target_}")
    return Experiment(
        data=make(config.data),
        make_module=partial(_make_module, config.model),
        schedule=make(config.schedule),
        acquisition=acquisition,
        pseudo_labels=make(config.pseudo_labels) if config.pseudo_labels else None,
        make_oracle=partial(make, config.oracle),
        providers=providers,
        callbacks=callbacks,
        make_trainer=make(_settled(config.trainer), _partial_=True),
        logger=make(config.logger),
        seed=config.seed,
        learner=_make_learner(config, make),
        partner=_make_partner(config.partner, make),
        informativeness=config.informativeness,
        gallery=config.gallery,
        embedding=config.embedding,
        checkpoint_every_s=config.checkpoint_every_s,
        keep_models=config.keep_models,
        keep_predictions=config.keep_predictions,
        first_cycle=first_cycle_config(config),
        pretrained=pretrained_config(config),
        motion=make(config.motion) if config.get("motion") else None,
        flow=flow_config(config),
        speed=make(config.speed) if "speed" in config else Speed(),  # a run of before has none
    )


def _check_frozen(config: DictConfig) -> None:
    model = config.model
    if model.get("frozen") and config.get("pretrained") is None and model.get("weights") is None:
        raise ConfigError("model.frozen must be false where neither pretrained nor model.weights gives what is frozen")


def _make_callbacks(
    config: DictConfig, make: Callable[..., Any]
) -> tuple[list[AbstractProvider], dict[str, Callable[[], Callback]]]:
    """Give the providers, and makers of all other callbacks."""
    providers: list[AbstractProvider] = []
    others: dict[str, Callable[[], Callback]] = {}
    for name, node in config.callbacks.items():
        callback = None if node is None else make(node)
        if isinstance(callback, AbstractProvider):
            providers.append(callback)
        elif isinstance(callback, Callback):
            others[str(name)] = partial(make, node)
        elif callback is not None:
            raise ConfigError(f"callbacks.{name} must be a callback of Lightning, got {type(callback).__name__}")
    return providers, others


def _make_learner(config: DictConfig, make: Callable[..., Any]) -> AbstractLearner:
    if config.learner is None:
        return Members(config.num_members, config.warm_start)
    if config.num_members != 1 or config.warm_start:
        raise ConfigError("num_members and warm_start must be 1 and false beside a learner, which says it itself")
    learner = make(config.learner)
    if not isinstance(learner, AbstractLearner):
        raise ConfigError(f"learner must be an AbstractLearner, got {config.learner._target_}")
    return learner


def _make_partner(config: DictConfig | None, make: Callable[..., Any]) -> Partner | None:
    if not config:
        return None
    partner: Partner = make(config)
    trainer = config.get("trainer")
    return partner if trainer is None else replace(partner, trainer=make(_settled(trainer)))


def _settled(trainer: DictConfig) -> DictConfig:
    """Give a trainer's config with Lightning's name of its precision."""
    if "precision" not in trainer:
        return trainer
    settled = trainer.copy()
    settled.precision = settled_precision(trainer.precision, trainer.get("accelerator", "auto"))
    return settled


def _make_module(config: DictConfig, **from_data: Any) -> AbstractTrainableModule:
    check_not_set(config, "model", from_data)
    module: AbstractTrainableModule = instantiate(config, _convert_="all", **from_data)
    return module
