"""What a config names by ``_target_``, and the arguments that it takes."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any

from alpl.errors import ConfigError


def imported(place: str, path: Any) -> Any:
    """Import what the ``_target_`` of a place names.

    Raises:
        ConfigError: it cannot be imported.
    """
    from hydra.utils import get_object

    logging.disable(logging.ERROR)  # hydra logs what it also raises
    try:
        return get_object(path)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{place}._target_ must name something that can be imported, got {path!r}: {reason}"
        ) from error
    finally:
        logging.disable(logging.NOTSET)


def named_arguments(target: Any) -> dict[str, inspect.Parameter] | None:
    """Give the parameters that a target names, those of its bases among them where it hands on ``**options``.

    None for built-in types, which tell no signature.
    """
    try:
        parameters = dict(inspect.signature(target).parameters)
    except (TypeError, ValueError):
        return None
    return parameters | (_options(target) if _is_open(parameters) else {})


def checked_arguments(target: Any) -> dict[str, inspect.Parameter] | None:
    """Give the parameters outside of which a target takes no name.

    None where it may take any: built-in types, and ``**kwargs`` that are open (a function's, a foreign class's) rather
    than the options of its base.
    """
    parameters = named_arguments(target)
    if parameters is None or (_is_open(parameters) and not (inspect.isclass(target) and _options(target))):
        return None
    return parameters


def _is_open(parameters: Mapping[str, inspect.Parameter]) -> bool:
    """Whether there are ``**options`` among parameters."""
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


def _options(target: Any) -> dict[str, inspect.Parameter]:
    """Parameters that a class hands on to its bases through ``**options``."""
    found: dict[str, inspect.Parameter] = {}
    for base in inspect.getmro(target)[1:] if inspect.isclass(target) else ():
        if base.__module__.startswith("alpl.") and "__init__" in vars(base):
            found |= dict(inspect.signature(base).parameters)
    return found
