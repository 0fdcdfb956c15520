"""What a run is called: its folder below ``paths.runs``, and its title."""

from __future__ import annotations

import pickle
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, final

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from alpl.commands.sweep import compose_job, set_values, split_values
from alpl.config.compose import BEFORE, CONF, content_of
from alpl.errors import ConfigError
from alpl.preflight.config import check_config, check_values
from alpl.runs.run_folder import content_key

Refusal: TypeAlias = ConfigError | HydraException | OmegaConfBaseException


Run: TypeAlias = tuple[Path, dict[str, Any]]
"""The folder of a run, and what its key is made of."""


def run_path_of(overrides: Sequence[str]) -> Path:
    """Give the folder of the run that ``alpl <overrides>`` makes or has made, without running it.

    Raises:
        ConfigError, HydraException: see :func:`run_of`.
    """
    return run_of(overrides)[0]


def run_of(overrides: Sequence[str]) -> Run:
    """Give the same folder, and what its key is made of.

    Raises:
        ConfigError, HydraException: the overrides do not compose, or name what is not there.
    """
    config, choices = _composed(overrides)
    check_config(config)
    content = content_of(config)
    return run_path(config, choices, content), content


def runs_of(jobs: Iterable[Sequence[str]]) -> Iterator[Run | Refusal]:
    """Give what :func:`run_of` gives or raises for each of many jobs, in their order.

    Composing takes most of the time. Jobs that differ in plain values only, as the seeds of a row do, are composed
    once.
    """
    shared = _Shared()
    for job in jobs:
        try:
            yield shared.run_of(job) or run_of(job)
        except (ConfigError, HydraException, OmegaConfBaseException) as error:
            yield error


@final
class _Shared:
    """Configs that jobs have in common, without their values; arguments that were checked already."""

    def __init__(self) -> None:
        self._configs: dict[tuple[str, ...], tuple[bytes, Mapping[str, Any]]] = {}
        self._checked: set[Hashable] = set()
        self._last: tuple[Hashable, DictConfig] | None = None

    def run_of(self, job: Sequence[str]) -> Run | None:
        """Give a job's run; None where the job says better itself what is wrong with it."""
        try:
            common, values = split_values(job)
            if common not in self._configs:
                composed, chosen = _composed(common)
                self._configs[common] = pickle.dumps(composed), chosen
            config, choices = self._config(common, values), self._configs[common][1]
            set_values(config, values)
            kinds = {value.key_or_group: _kind(value.value()) for value in values}
            names = (common, *kinds.items())
            check_values(config)
            content = content_of(config)
            path = run_path(config, choices, content)
            if path.exists():  # whoever began it has checked the rest, for which all that is named is imported
                return path, content
            if names not in self._checked:  # else the arguments' names are those of a job before
                check_config(config)
                self._checked.add(names)
            return path, content
        except (ConfigError, HydraException, OmegaConfBaseException):
            return None

    def _config(self, common: tuple[str, ...], values: Sequence[Override]) -> DictConfig:
        """Give a config to set values in: the last job's where these take the place of all of its own."""
        names = (common, *(value.key_or_group for value in values))
        is_plain = all(isinstance(value.value(), (bool, int, float, str)) for value in values)
        if is_plain and self._last is not None and self._last[0] == names:
            return self._last[1]
        # a copy, in a quarter of the time that copy.deepcopy takes
        config: DictConfig = pickle.loads(self._configs[common][0])
        self._last = (names, config) if is_plain else None  # a mapping would be merged with the last job's
        return config


def _kind(value: Any) -> tuple[str, str]:
    """Give what of a value decides whether a config's names are right: its type, and of what is no number itself."""
    return type(value).__name__, "" if isinstance(value, (bool, int, float)) else str(value)


def _composed(overrides: Sequence[str]) -> tuple[DictConfig, dict[str, Any]]:
    """Compose a job's config without its ``hydra`` node; give what was chosen in each group, too."""
    config = compose_job(overrides)
    choices = dict(config.hydra.runtime.choices)
    with open_dict(config):
        del config["hydra"]
    return config, choices


def run_path(
    config: DictConfig, choices: Mapping[str, Any] | None = None, content: Mapping[str, Any] | None = None
) -> Path:
    """Give the folder of a run: ``<runs>/<table>/<row>/<data>-seed<seed>-<key>``.

    Args:
        config: the run's config.
        choices: what was chosen in each group; by default what Hydra says of the run at work.
        content: what the key is made of, where that is known.

    Returns:
        That of an earlier version of alpl, whose key was made of more, where today's is not there.
    """
    names = names_of(config, choices)
    place, start = Path(config.paths.runs) / names["table"] / names["row"], f"{names['data']}-seed{config.seed}"
    now = place / f"{start}-{content_key(content_of(config) if content is None else content)}"
    if now.exists():
        return now
    earlier = (place / f"{start}-{content_key(content_of(config, before=version))}" for version in BEFORE)
    return next((folder for folder in earlier if folder.exists()), now)


def names_of(config: DictConfig, choices: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Table, row and data set by name: as the config says, else by the choices that were made."""
    if choices is None:
        choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    data = str(config.data.get("name") or choices.get("data", "data"))
    row = config.row or choices.get("method") or _acquisition_name(config, str(choices.get("acquisition", "row")))
    names = {"table": str(config.table or data), "row": str(row), "data": data}
    if any(sign in data for sign in "/\\") or data.startswith("."):
        raise ConfigError(f"data.name must be a name, as run folders are called by it, got {data!r}")
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
    target, written = str(config.acquisition._target_), _written_target(choice)
    return choice if written in (None, target) else target.rpartition(".")[2]


@cache
def _written_target(choice: str) -> str | None:
    """Give the class that an acquisition's file names; None where there is no such file."""
    file = CONF / "acquisition" / f"{choice}.yaml"
    return str(OmegaConf.load(file)._target_) if file.exists() else None
