"""What a run is called: its folder below ``paths.runs``, and its title."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from alpl.commands.sweep import compose_job
from alpl.config.compose import CONF, content_of
from alpl.errors import ConfigError
from alpl.preflight.config import check_config
from alpl.runs.run_folder import content_key


def run_path_of(overrides: Sequence[str]) -> Path:
    """Give the folder of the run that ``alpl <overrides>`` makes or has made, without running it.

    Raises:
        ConfigError, HydraException: see :func:`run_of`.
    """
    return run_of(overrides)[0]


def run_of(overrides: Sequence[str]) -> tuple[Path, dict[str, Any]]:
    """Give the same folder, and what its key is made of.

    Raises:
        ConfigError, HydraException: the overrides do not compose, or name what is not there.
    """
    config = compose_job(overrides)
    choices = dict(config.hydra.runtime.choices)
    with open_dict(config):
        del config["hydra"]
    check_config(config)
    return run_path(config, choices), content_of(config)


def run_path(config: DictConfig, choices: Mapping[str, Any] | None = None) -> Path:
    """Give the folder of a run: ``<runs>/<table>/<row>/<data>-seed<seed>-<key>``.

    Args:
        config: the run's config.
        choices: what was chosen in each group; by default what Hydra says of the run at work.
    """
    names = names_of(config, choices)
    key = content_key(content_of(config))
    return Path(config.paths.runs) / names["table"] / names["row"] / f"{names['data']}-seed{config.seed}-{key}"


def names_of(config: DictConfig, choices: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Table, row and data set by name: as the config says, else by the choices that were made."""
    if choices is None:
        choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    data = str(choices.get("data", "data"))
    row = config.row or choices.get("method") or _acquisition_name(config, str(choices.get("acquisition", "row")))
    names = {"table": str(config.table or data), "row": str(row), "data": data}
    for name in names:
        if Path(names[name]).is_absolute() or ".." in Path(names[name]).parts:
            raise ConfigError(
                f"{name} must be a name, as a folder below paths.runs is called by it, got {names[name]!r}"
            )
        if any(part.startswith(".") for part in Path(names[name]).parts):
            raise ConfigError(f"{name} must not begin with a dot, which hides its folder, got {names[name]!r}")
    return names


def title_of(config: DictConfig) -> str:
    """Name a run for people."""
    names = names_of(config)
    return f"{names['row']} {names['data']} seed {config.seed}"


def _acquisition_name(config: DictConfig, choice: str) -> str:
    """Name a row: the chosen file's name, or the class where another one was put in its place."""
    file = CONF / "acquisition" / f"{choice}.yaml"
    target = str(config.acquisition._target_)
    if file.exists() and OmegaConf.load(file)._target_ != target:
        return target.rpartition(".")[2]
    return choice
