"""Figures as an experiment's yaml declares them: ``report.figures``.

An entry names a function by ``draw`` and gives its arguments. A short name is a file of
:mod:`alpl.report.drawn.figure`, a dotted path any function that can be imported: ``my_figures.by_size``. It gets a
:class:`alpl.report.drawn.material.Material` and gives a PNG file, several by label, or None.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, final

from alpl.errors import DataError
from alpl.report.drawn import figure
from alpl.report.drawn.material import Caption, Drawn
from alpl.report.read.paper import joined_reports

DEFAULT = (
    "curves", "pseudo_labels", "classes", "class_gains", "overlap", "embedding", "informativeness", "histograms",
    "studies",
)  # fmt: skip
"""What a report shows that declares nothing; ``default`` in a list of figures stands for them."""
_OWN = ("draw", "rows", "data", "join", "title", "text")


@final
@dataclass(frozen=True, eq=False)
class Declared:
    """One entry of ``report.figures``.

    Args:
        name: the function's short name, or the last part of its path.
        function: what draws it.
        caption: what the page says of it.
        arguments: of the function.
        rows: our rows that it shows, in this order; all if None.
        data: the data sets that it is of; all if None.
        join: whether it is one figure of all its data sets, and not one of each.
        title: heads it on the page.
    """

    name: str
    function: Callable[..., Drawn]
    caption: Caption
    arguments: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[str, ...] | None = None
    data: tuple[str, ...] | None = None
    join: bool = False
    title: str = ""


def declared_figures(given: Sequence[Any] | None) -> list[Declared]:
    """Read ``report.figures``; what is not declared is the default set.

    Args:
        given: entries, each the name of a figure or a mapping with ``draw`` and what else it says; None for none.

    Raises:
        DataError: an entry names a function or an argument that there is not; the message names the key.
    """
    found = []
    for place, entry in enumerate(DEFAULT if given is None else given):
        names: Sequence[Any] = DEFAULT if entry == "default" else [entry]
        found += [_read(f"report.figures[{place}]", one) for one in names]
    return found


def check_report(report: Any) -> None:
    """Check what an experiment's yaml says under ``report`` before anything is trained or written.

    Raises:
        DataError: a key has a value that it cannot have, or a figure is declared that there is not.
    """
    if not isinstance(report, Mapping):
        raise DataError(f"report must be a mapping, got {report!r}")
    declared_figures(joined_reports([report]).figures)


def _read(place: str, entry: Any) -> Declared:
    given = {"draw": entry} if isinstance(entry, str) else entry
    if not isinstance(given, Mapping) or not isinstance(given.get("draw"), str):
        raise DataError(f"{place} must be a figure's name or have draw (a name or a dotted path), got {entry!r}")
    path = given["draw"]
    function = _imported(place, path)
    arguments = {str(name): value for name, value in given.items() if name not in _OWN}
    title, known = str(given.get("title") or ""), _parameters(place, path, function)
    _check(place, path, arguments, known)
    if title and "title" in known:
        arguments["title"] = title
    return Declared(
        name=path.rpartition(".")[2],
        function=function,
        caption=_caption(function, given),
        arguments=arguments,
        rows=_names(f"{place}.rows", given.get("rows")),
        data=_names(f"{place}.data", given.get("data")),
        join=_flag(f"{place}.join", given.get("join", False)),
        title=title,
    )


def _imported(place: str, path: str) -> Callable[..., Drawn]:
    module, _, name = path.rpartition(".")
    if not module:
        known = sorted(one.name for one in iter_modules(figure.__path__))
        if path not in known:
            raise DataError(f"{place}.draw: there is no figure {path!r}{_did_you_mean(path, known)}")
        module, name = f"{figure.__name__}.{path}", "draw"
    try:
        function = getattr(import_module(module), name)
    except Exception as error:  # whatever the file of a user raises
        reason = " ".join(str(error).split())
        raise DataError(f"{place}.draw must name something that can be imported, got {path!r}: {reason}") from error
    if not callable(function) or isinstance(function, ModuleType):
        raise DataError(f"{place}.draw must name a function, got {path!r}")
    return function  # type: ignore[no-any-return]


def _parameters(place: str, path: str, function: Callable[..., Drawn]) -> dict[str, inspect.Parameter]:
    """Give the arguments that a function takes beside the material, which is its first."""
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters:
        raise DataError(f"{place}.draw: {path} must take the report's material, got a function without arguments")
    return {one.name: one for one in parameters[1:]}


def _check(place: str, path: str, arguments: Mapping[str, Any], known: Mapping[str, inspect.Parameter]) -> None:
    is_open = any(one.kind is one.VAR_KEYWORD for one in known.values())
    for name in arguments:
        if name not in known and not is_open:
            raise DataError(
                f"{place}.{name}: {path} takes no such argument{_did_you_mean(name, sorted({*known, *_OWN}))}"
            )
    for name, one in known.items():
        is_needed = one.default is one.empty and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
        if is_needed and name not in arguments and name != "title":
            raise DataError(f"{place}.{name} must be given: {path} needs it")


def _caption(function: Callable[..., Drawn], given: Mapping[str, Any]) -> Caption:
    """Give what the function's module says of it, or its docstring; the entry's own words stand above both."""
    module = inspect.getmodule(function)
    caption = getattr(module, "CAPTION", None)
    if not isinstance(caption, Caption):
        told = (inspect.getdoc(function) or function.__name__).split("\n")[0]
        caption = Caption(alt=f"{told.replace('{', '(').replace('}', ')')} ({{data}})")
    text = str(given.get("text") or caption.text)
    return replace(caption, heading=str(given.get("title") or caption.heading), text=text)


def _names(place: str, given: Any) -> tuple[str, ...] | None:
    if given is None:
        return None
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, Sequence) or not given:
        raise DataError(f"{place} must be a list of names, got {given!r}")
    return tuple(str(name) for name in given)


def _flag(place: str, given: Any) -> bool:
    if not isinstance(given, bool):
        raise DataError(f"{place} must be true or false, got {given!r}")
    return given


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
