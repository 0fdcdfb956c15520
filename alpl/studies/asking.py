"""Asks a finished run's model about images, and lets a study write what it found.

Everything that a run wrote stays as it is: a study has a folder of its own, ``studies/<name>``, which no line of the
journal names, so that the run is as finished, whole and readable as before.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from alpl.cycle.parts import Parts
from alpl.cycle.prediction import write_predictions
from alpl.cycle.training import Training
from alpl.data.scenes import SceneDataModule
from alpl.errors import ConfigError, DataError
from alpl.experiment import Experiment, make_experiment
from alpl.machine.files import whole_folder
from alpl.machine.interruption import Interruption
from alpl.machine.progress import Progress
from alpl.machine.seeding import derive_seed, seed_all
from alpl.modules.base import AbstractModule
from alpl.predictions import Need, Predictions
from alpl.predictions.fields import hint_for
from alpl.preflight.checks import check_data
from alpl.runs.run_folder import RunFolder
from alpl.runs.stages import Stages
from alpl.sharing.first_cycle import FirstCycle
from alpl.studies.base import AbstractStudy, Answers

FOLDER = "studies"


def ask(run: Path, name: str, study: AbstractStudy, changes: DictConfig | None = None) -> tuple[Path, str]:
    """Do a study of a run, on one process; an earlier one of the same name is replaced.

    Args:
        run: the folder of a finished run, of a detector.
        name: of the study.
        study: with its settings.
        changes: of the run's config, for data that lie elsewhere now, or another device.

    Returns:
        The study's folder, and the line that tells of it.

    Raises:
        ConfigError: the run's model does not give what the study wants, is no detector's, or a change is of no key.
        DataError: there is no finished run, its weights are gone, or its data are others now.
        RunLockedError: another process works in the folder.
    """
    config = run_config(run, changes)
    folder = RunFolder(run)
    if not folder.is_finished:
        raise DataError(f"RUN must be the folder of a finished run, got {run}, which alpl-status shows as unfinished")
    with folder.locked(), Interruption(config.grace_s) as interruption:
        experiment = make_experiment(config)
        data = _data(experiment, run)
        progress = Progress(f"{name} of {run.name}", None, 1)
        stages = Stages(folder, progress, interruption)
        oracle = experiment.make_oracle(data.take_targets()[1])  # away with them: no study is of labels of the pool
        parts = Parts(experiment, oracle, folder, stages, progress, interruption)
        look = study.look(folder, data)
        module = _module(parts, look.cycle)
        _check_needs(study, module.provides)
        module.needs, module.stage = study.needs, look.stage
        seed_all(derive_seed(experiment.seed, "study", name))
        target = run / FOLDER / name
        try:
            with whole_folder(target) as temporary:
                seen = temporary / "predictions"
                view = data.observing(look.index, look.split)
                alone = partial(experiment.make_trainer, devices=1, num_nodes=1, strategy="auto")
                write_predictions(parts, module, view, seen, make=alone)
                found = Predictions.load(seen, memory_map=True)
                answers = Answers(found, data, experiment, module, look, folder.cycle(look.cycle))
                told = study.write(answers, temporary)
                folder.remove(seen)
        finally:
            progress.close()
    return target, told


def run_config(run: Path, changes: DictConfig | None) -> DictConfig:
    """Read the config of a run, with some changes.

    Raises:
        DataError: there is none.
    """
    if not (run / "config.yaml").is_file():
        raise DataError(f"RUN must be the folder of a run, got {run}, which has no config.yaml")
    config = OmegaConf.load(run / "config.yaml")
    assert isinstance(config, DictConfig), "a run's config is a mapping"
    OmegaConf.set_struct(config, True)
    return config if changes is None else OmegaConf.unsafe_merge(config, changes)  # type: ignore[return-value]


def _data(experiment: Experiment, run: Path) -> SceneDataModule:
    data = experiment.data
    if not isinstance(data, SceneDataModule):
        raise ConfigError(f"RUN must be of a detector, got {run} on data for {data.task.value}")
    data.prepare_data()
    data.setup("fit")
    check_data(data.fingerprint(), run, may_write=False)
    return data


def _module(parts: Parts, cycle: int) -> AbstractModule:
    """Load what an acquisition asks in a cycle: a network, or an ensemble."""
    for model in parts.experiment.learner.asked:
        if not (path := parts.folder.cycle(cycle).model(model)).exists():
            raise DataError(f"{path} is gone, so nobody can be asked: keep_models=true keeps the weights of all cycles")
    training = Training(parts, Need.NOTHING, FirstCycle(parts.stages, None))
    return training.module(cycle, parts.experiment.learner.asked)


def _check_needs(study: AbstractStudy, provided: Need) -> None:
    if missing := study.needs & ~provided:
        hint = hint_for(missing, is_detection=True)
        raise ConfigError(f"the run's model must give {missing.names()} for this study" + (f": {hint}" if hint else ""))
