"""Acquisitions by the names of their configs, as ``alpl acquisition=<name>`` makes them."""

from __future__ import annotations

from collections.abc import Sequence

from hydra import compose
from hydra.utils import instantiate
from omegaconf import OmegaConf

from alpl.acquisition import AbstractAcquisition
from alpl.config.compose import CONF
from alpl.config.composing import composing
from alpl.config.keys import did_you_mean
from alpl.errors import ConfigError
from alpl.preflight.config import check_arguments


def names() -> list[str]:
    """Name the configs of all acquisitions."""
    return sorted(path.stem for path in (CONF / "acquisition").glob("*.yaml"))


def acquisition_of(name: str, settings: Sequence[str] = ()) -> AbstractAcquisition:
    """Make an acquisition.

    Args:
        name: of its config, or the path of a class of one's own (``my_acquisition.LooksLike``).
        settings: ``KEY=VALUE``, keys below ``acquisition``: ``metric=cosine``.

    Raises:
        ConfigError: there is no such acquisition, or it takes no such setting.
    """
    if "." in name:
        choice = f"acquisition._target_={name}"
    elif name in (known := names()):
        choice = f"acquisition={name}"
    else:
        raise ConfigError(f"acquisition must name a config or a class, got {name!r}{did_you_mean(name, known)}")
    # ++: a class of one's own has no config whose keys could be changed; what it does not take is refused below
    with composing():
        config = compose("config", [choice, *(f"++acquisition.{text}" for text in settings)]).acquisition
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise ConfigError(f"{missing[0]} must be given, the config of {name!r} leaves it open")
    check_arguments(OmegaConf.to_container(config, resolve=True), "acquisition")
    made = instantiate(config, _convert_="all")
    if not isinstance(made, AbstractAcquisition):
        raise ConfigError(f"acquisition must be an AbstractAcquisition, got {type(made).__name__}")
    return made
