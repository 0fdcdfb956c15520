"""What is predicted in each stage of an acquisition."""

from __future__ import annotations

from alpl.experiment import Experiment
from alpl.modules.base import AbstractModule
from alpl.predictions import FROM_MODULE, Need
from alpl.recording.recording import Recording


def needs_of_stages(experiment: Experiment, recording: Recording, module: AbstractModule) -> tuple[Need, ...]:
    """Give what each stage needs; the first one with what is made and recorded of the whole pool beside it.

    Args:
        experiment: the run's parts.
        recording: says what it records.
        module: makes the predictions.

    Raises:
        ConfigError: see :meth:`alpl.recording.recording.Recording.needs`.
    """
    needs = [stage.acquisition.needs for stage in experiment.acquisition.stages]
    if experiment.pseudo_labels:
        needs[0] |= experiment.pseudo_labels.needs
    for number, own in enumerate(needs):  # pictures are made of the first predictions that there are
        needs[number] = own | recording.needs(own, module)
        if needs[number] & FROM_MODULE:
            break
    return tuple(needs)
