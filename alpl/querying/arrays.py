"""What people hand over, as tensors of the right kind and shape; and by which names they hand it over.

Axes: N images, I instances (detections over all N images; I = N in classification), C outputs, K foreground classes,
F features, V views, E epochs.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from alpl.config.keys import did_you_mean
from alpl.errors import ConfigError

Kind: TypeAlias = Literal["float", "long"]


@final
@dataclass(frozen=True)
class Argument:
    """One array that can be given.

    Args:
        field: its name in :data:`alpl.predictions.FIELDS`, or in the predictions.
        per: of what it holds one each, along ``axis``: ``image``, ``instance`` or ``class``.
        axes: its axes, for messages.
        kind: of its numbers.
        axis: which of them runs over what it holds one each of.
    """

    field: str
    per: Literal["image", "instance", "class"]
    axes: str
    kind: Kind = "float"
    axis: int = 0


ARGUMENTS: Mapping[str, Argument] = {
    "features": Argument("image_features", "image", "N F"),
    "posterior": Argument("posterior", "instance", "I C"),
    "views": Argument("views", "instance", "V I C", axis=1),
    "logits": Argument("logits", "instance", "I C"),
    "classes": Argument("labels", "instance", "I", "long"),
    "scores": Argument("scores", "instance", "I"),
    "boxes": Argument("boxes", "instance", "I 4"),
    "object_features": Argument("features", "instance", "I F"),
    "uncertainties": Argument("uncertainties", "instance", "I 4"),
    "predicted_loss": Argument("predicted_loss", "image", "N"),
    "labeledness": Argument("labeledness", "image", "N"),
    "history": Argument("history", "image", "E N", "long", axis=1),
    "sizes": Argument("sizes", "image", "N 2", "long"),
    "difficulty": Argument("difficulty", "class", "K"),
    "class_counts": Argument("class_counts", "class", "K", "long"),
}
"""What can be given, by the names of the arguments of :func:`alpl.querying.select`."""


def checked_arrays(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    """Give what was handed over as tensors on the CPU, without a copy where that is possible.

    Args:
        arrays: by the names of :data:`ARGUMENTS`; None where absent.

    Raises:
        ConfigError: a name is unknown, or an array has other axes or other numbers than it must have.
    """
    found = {}
    for name, value in arrays.items():
        if name not in ARGUMENTS:
            raise ConfigError(f"unknown argument {name!r}{did_you_mean(name, [*ARGUMENTS])}")
        if value is not None:
            argument = ARGUMENTS[name]
            found[name] = tensor_of(name, value, argument.kind, argument.axes)
    return found


def tensor_of(name: str, value: Any, kind: Kind, axes: str) -> Tensor:
    """Give an array as a tensor on the CPU.

    Args:
        name: of the argument, for messages.
        value: a torch tensor, a numpy array or what numpy makes one of.
        kind: ``long`` for whole numbers, ``float`` for any; whole numbers become float32 there.
        axes: separated by spaces; a digit is a length that must be met.

    Raises:
        ConfigError: it holds no such numbers, or has other axes.
    """
    tensor = value.detach().cpu() if isinstance(value, Tensor) else _from_numpy(name, value)
    letters = axes.split()
    expected = f"{name} must be {kind.capitalize()}[{axes}]"
    sizes = zip(letters, tensor.shape, strict=False)
    wrong_length = any(letter.isdigit() and size != int(letter) for letter, size in sizes)
    if tensor.ndim != len(letters) or wrong_length:
        raise ConfigError(f"{expected}, got shape {list(tensor.shape)}")
    if tensor.is_complex() or (tensor.dtype == torch.bool and kind == "float"):
        raise ConfigError(f"{expected}, got {tensor.dtype}")
    if kind == "float":
        return tensor if tensor.is_floating_point() else tensor.float()
    if tensor.dtype == torch.bool or (tensor.is_floating_point() and tensor.numel()):
        raise ConfigError(f"{expected}, got {tensor.dtype}")
    return tensor.long()


def _from_numpy(name: str, value: Any) -> Tensor:
    array = np.asarray(value)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 for stride in array.strides):  # of a reversed view, which torch does not take
        array = array.copy()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it cannot be written to: nothing is
            return torch.from_numpy(array)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} must be an array of numbers, got {array.dtype}: {error}") from error
