"""Studies by name: each file of :mod:`alpl.studies.study` is one, by the class of that name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from pkgutil import iter_modules

from omegaconf import OmegaConf

from alpl.errors import ConfigError
from alpl.studies import study
from alpl.studies.base import AbstractStudy


def study_names() -> list[str]:
    """Name all studies."""
    return sorted(one.name for one in iter_modules(study.__path__))


def study_of(name: str) -> type[AbstractStudy]:
    """Give a study's class.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in study_names():
        close = difflib.get_close_matches(name, study_names(), n=1)
        raise ConfigError(f"STUDY must be one of {', '.join(study_names())}, got {name!r}" + _meant(close))
    module = import_module(f"{study.__name__}.{name}")
    made = getattr(module, "".join(part.capitalize() for part in name.split("_")))
    assert issubclass(made, AbstractStudy), "a study's file holds the class of its name"
    return made  # type: ignore[no-any-return]


def split_settings(kind: type[AbstractStudy], given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell a study's own settings (``KEY=VALUE``) from changes of the run's config, by their names."""
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type]  # studies are dataclasses
    own = [text for text in given if text.split("=", 1)[0] in names]
    return own, [text for text in given if text not in own]


def made_of(kind: type[AbstractStudy], settings: Sequence[str]) -> AbstractStudy:
    """Make a study from its settings, ``KEY=VALUE``, values as in YAML.

    Raises:
        ConfigError: a value is out of range.
    """
    values = OmegaConf.to_container(OmegaConf.from_dotlist(list(settings)))
    assert isinstance(values, dict), "a list of keys and values is a mapping"
    return kind(**{str(name): value for name, value in values.items()})


def _meant(close: list[str]) -> str:
    return f"; did you mean {close[0]!r}?" if close else ""
