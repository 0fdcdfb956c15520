"""Whether what a config puts in a part's place is such a part, as far as the annotations of its maker say."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Union

from alpl.errors import ConfigError
from alpl.preflight.targets import imported


def check_parts(place: str, node: Mapping[str, Any], target: Any) -> None:
    """Hold the arguments of a target to its annotations, where these name a class of alpl or a maker.

    A plain value in the place of a part would go unnoticed until its first method is called.

    Args:
        place: of the node in the config.
        node: ``_target_`` and its arguments.
        target: what is named by it.

    Raises:
        ConfigError: an argument must be a part and is a plain value, or a part of another kind.
    """
    function = target.__init__ if inspect.isclass(target) else target
    for name, value in node.items():
        if value is not None and (part := _part(_hint(function, name))) is not None:
            _check(f"{place}.{name}", value, *part)


def _hint(function: Any, name: str) -> Any:
    """Give an argument's annotation; None where it has none, or one that only type checkers can read."""
    annotation = getattr(function, "__annotations__", {}).get(name)
    try:
        alone = types.SimpleNamespace(__annotations__={name: annotation})
        return typing.get_type_hints(alone, getattr(function, "__globals__", {}))[name]
    except Exception:  # it is evaluated, so it may raise anything
        return None


def _part(hint: Any) -> tuple[type, bool] | None:
    """Give the class of a part, and whether it is made later; None where plain values will do."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        parts = [_part(each) for each in typing.get_args(hint) if each is not type(None)]
        return parts[0] if len(parts) == 1 else None
    if typing.get_origin(hint) is Callable:
        made = typing.get_args(hint)[-1] if typing.get_args(hint) else object
        return (made if _is_class(made) else object), True
    return (hint, False) if _is_class(hint) and hint.__module__.startswith("alpl.") else None


def _is_class(hint: Any) -> bool:
    """Whether ``issubclass`` can be asked about it."""
    return isinstance(hint, type) and typing.get_origin(hint) is None and not getattr(hint, "_is_protocol", False)


def _check(place: str, value: Any, kind: type, is_made_later: bool) -> None:
    what = "a part" if kind is object else f"a part of the kind {kind.__module__}.{kind.__qualname__}"
    if not isinstance(value, Mapping) or "_target_" not in value:
        raise ConfigError(
            f"{place} must be {what}, named by {place}._target_, got {value!r}; its arguments are set one by one, as "
            f"{place}.NAME=VALUE"
        )
    found = imported(place, value["_target_"])
    is_maker = not is_made_later or value.get("_partial_")  # else it is a function, or an object that is called
    if inspect.isclass(found) and is_maker and not issubclass(found, kind):
        raise ConfigError(f"{place} must be {what}, got {value['_target_']}")
