"""Config files whose faults are told in one line, with the file's name, whatever reads them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped, unused-ignore]

from alpl.config.keys import TOP_LEVEL, did_you_mean
from alpl.errors import ConfigError

_READ: dict[tuple[str, str, str, int, int], bytes] = {}
_OF_HYDRA = ("defaults", "hydra")


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a config file, its interpolations as they are written.

    Raises:
        ConfigError: it cannot be read, or holds no mapping.
    """
    with _told(path):
        config = OmegaConf.load(path)
        _check(path, config)
        content: Any = OmegaConf.to_container(config, resolve=False)
    return {str(name): value for name, value in content.items()}


class YamlFiles(FileConfigSource):
    """Hydra's source of config files; what is wrong with one is a ConfigError that names it."""

    def load_config(self, config_path: str) -> ConfigResult:
        """Read a file.

        Raises:
            ConfigError: it cannot be read, or holds no config.
        """
        path = Path(os.path.realpath(Path(self.path) / self._normalize_file_name(config_path)))
        with _told(path):
            result = self._read(path, config_path)
            _check(path, result.config)
            if result.header.get("package") == "_global_":
                _check_top_level(path, result.config)
        return result

    def _read(self, path: Path, config_path: str) -> ConfigResult:
        """Read it, or take a copy of what was read of the file as it is: for each run of a sweep Hydra reads all."""
        if not path.is_file():
            return super().load_config(config_path)
        about = path.stat()
        version = (self.provider, self.path, config_path, about.st_mtime_ns, about.st_size)
        if version not in _READ:
            _READ[version] = pickle.dumps(super().load_config(config_path))
        result: ConfigResult = pickle.loads(_READ[version])  # a copy, as Hydra changes what it is given
        return result


# A job that submitit starts gets the registry of sources, and then Hydra registers its own there: an error, where one
# of another name is in its place.
YamlFiles.__name__ = FileConfigSource.__name__


def register_files() -> None:
    """Let Hydra read all folders of configs by :class:`YamlFiles`, those of ``--config-dir``, too."""
    SourcesRegistry.instance().types[FileConfigSource.scheme()] = YamlFiles


def _check(path: Path, config: Any) -> None:
    if not isinstance(config, DictConfig):
        raise ConfigError(f"{path} must hold a mapping of names to values, got a list")
    defaults = config._get_node("defaults")
    if defaults is None:
        return
    written: Any = OmegaConf.to_container(defaults, resolve=False) if isinstance(defaults, ListConfig) else None
    if not isinstance(written, list) or not all(isinstance(each, (str, dict)) for each in written):
        raise ConfigError(f"{path} must have a list of choices (group: name) as defaults, got {defaults}")


def _check_top_level(path: Path, config: Any) -> None:
    """Check what experiments and methods write into the top level of a run's config."""
    for name in map(str, config):
        if name not in (*TOP_LEVEL, *_OF_HYDRA):
            raise ConfigError(f"{path}: unknown config key {name!r}{did_you_mean(name, TOP_LEVEL)}")
    report = config._get_node("report")
    is_open = report is None or report._is_none() or report._is_interpolation()
    if not is_open and not isinstance(report, DictConfig):
        raise ConfigError(f"{path}: report must be a mapping, got {report}")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (ConfigError, HydraException):
        raise
    except (OSError, ValueError, RecursionError, YAMLError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} must hold a config as YAML in UTF-8: {reason}") from error
