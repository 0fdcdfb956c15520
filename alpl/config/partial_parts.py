"""Parts of the config that are made later, from values that the data or the part around them gives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from alpl.errors import ConfigError

T = TypeVar("T")


def complete(part: Callable[..., T], place: str, **given: Any) -> T:
    """Make a part whose config has ``_partial_``; a value that it is given must not stand in the config, too.

    ``functools.partial`` would take the given one without a word, while the other counted for the run's key.

    Args:
        part: makes it.
        place: its place in the config, for the message.
        given: what it is given, by name.

    Raises:
        ConfigError: the config says one of them, or the part takes none of that name.
    """
    if isinstance(part, partial):
        check_not_set(part.keywords, place, given)
    try:
        return part(**given)
    except TypeError as error:
        if any(f"unexpected keyword argument '{name}'" in str(error) for name in given):
            names = ", ".join(given)
            raise ConfigError(f"{place} must take what the framework gives it, {names}: {error}") from error
        raise


def check_not_set(config: Any, place: str, given: Any) -> None:
    """Make sure that a config sets nothing that the framework gives.

    Raises:
        ConfigError: it does.
    """
    if taken := sorted(str(name) for name in given if name in config):
        raise ConfigError(f"{place}.{taken[0]} must not be set: the framework sets it itself")
