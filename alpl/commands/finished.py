"""A finished run and the data that there are now: its key does not say what lies where the data are."""

from __future__ import annotations

import copy
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from alpl.commands.messages import one_line
from alpl.commands.sweep import in_sweep
from alpl.runs.fingerprint import Fingerprint, check_same_data, read_fingerprint


def check_finished(folder: Path, config: DictConfig) -> str:
    """Make sure that a finished run is of the data that there are now.

    Returns:
        Why that cannot be told: the data are gone, say, while the results stay good. Empty where they are the same.

    Raises:
        ConfigError: the run is of other data; it names what differs.
        DataError: what the run has noted of its data is broken.
    """
    if read_fingerprint(folder) is None:
        return "with which data, it has not noted"
    try:
        now = _fingerprint_now(config.data)
    except Exception as error:  # a source of the user's may raise anything
        cause = error.__cause__ if isinstance(error, HydraException) and error.__cause__ else error
        return f"its data are not compared, as they cannot be read now: {one_line(cause)}"
    check_same_data(folder, now)
    return ""


_seen: dict[tuple[str, str], Fingerprint] = {}  # sweep and data: its jobs are mostly of the same, which take a while


def _fingerprint_now(config: DictConfig) -> Fingerprint:
    if not in_sweep():
        return _read(config)
    known = (str(HydraConfig.get().sweep.dir), OmegaConf.to_yaml(config, resolve=True))
    if known not in _seen:
        _seen[known] = _read(config)
    return _seen[known]


def _read(config: DictConfig) -> Fingerprint:
    data = instantiate(_undecoded(config), _convert_="all")
    data.setup("fit")
    fingerprint: Fingerprint = data.fingerprint()
    return fingerprint


def _undecoded(config: DictConfig) -> DictConfig:
    """Leave images undecoded where that decides nothing: what broke off since has another time stamp."""
    source = config.get("source")
    if not isinstance(source, DictConfig) or source.get("bad") != "error" or not source.get("verify_images"):
        return config
    light: DictConfig = copy.deepcopy(config)
    light.source.verify_images = False
    return light
