"""Whether data and model are of one task."""

from __future__ import annotations

from typing import Any

from alpl.errors import ConfigError

_EXAMPLES = (
    "data=digits or cifar10 with model=digits_cnn or resnet18_cifar, data=digit_scenes, voc07 or coco_folder with "
    "model=ssd_tiny or retinanet_r50"
)


def check_partners(data: Any, model: Any) -> None:
    """Compare the tasks of the two classes that a config names; anything else names no task, and passes.

    Raises:
        ConfigError: they differ.
    """
    from alpl.data.base import AbstractPoolDataModule  # here: they bring torch, as the two classes have by now
    from alpl.modules.base import AbstractTrainableModule

    if not (isinstance(data, type) and issubclass(data, AbstractPoolDataModule)):
        return
    if not (isinstance(model, type) and issubclass(model, AbstractTrainableModule)):
        return
    if data.task is not model.task:
        raise ConfigError(
            f"data and model must be of one task, got data for {data.task.value} ({data.__name__}) and a model for "
            f"{model.task.value} ({model.__name__}); partners are, for example, {_EXAMPLES}"
        )
