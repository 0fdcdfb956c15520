"""Config groups whose files lie in folders of their own, beside ``conf/``; a file is read when a config names it.

Hydra's ConfigStore would take them too, but read all of them at every start.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, final

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin

from alpl.config.yaml_files import YamlFiles, register_files


def register_folders(folders: Mapping[str, Path]) -> None:
    """Make the YAML files of folders the choices of groups, in all that this process composes from now on.

    Args:
        folders: top-level group -> its folder; subfolders are its subgroups. A file says its package itself, by
            ``# @package`` in its first line.
    """
    GroupFolders.folders = dict(folders)
    for plugin in (GroupFolder, GroupFolders):
        Plugins.instance().register(plugin)
    register_files()
    ConfigStore.instance().__class__ = LightStore


@final
class LightStore(ConfigStore):
    """Hydra's store of its own configs, which Hydra copies for every config that it composes, and 170 times for --help.

    The copy is of the shelves alone: what is loaded from a store is a copy anyway, which takes the original's place.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> LightStore:
        """Copy the folders and entries, not the configs in them."""
        copied = object.__new__(LightStore)
        copied.repo = _entries(self.repo)
        return copied


def _entries(node: Any) -> Any:
    return {name: _entries(value) for name, value in node.items()} if isinstance(node, dict) else copy(node)


@final
class GroupFolder(ConfigSource):
    """One folder as a group: ``group://<group>=<folder>`` in Hydra's search path."""

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path)
        self._group, _, folder = self.path.partition("=")
        self._files = YamlFiles(provider, folder)

    @staticmethod
    def scheme() -> str:
        """Name this kind of source."""
        return "group"

    def available(self) -> bool:
        """Whether the folder is there."""
        return self._files.available()

    def load_config(self, config_path: str) -> ConfigResult:
        """Read a file."""
        return self._files.load_config(self._below(config_path) or "")

    def is_group(self, config_path: str) -> bool:
        """Whether this is the root, the group, or a subfolder of it."""
        below = self._below(config_path)
        return config_path == "" or (below is not None and self._files.is_group(below))

    def is_config(self, config_path: str) -> bool:
        """Whether this is a file of the group."""
        below = self._below(config_path)
        return bool(below) and self._files.is_config(str(below))

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Name what lies in the root, which is the group alone, or in one of its folders."""
        if config_path == "":
            return [] if results_filter is ObjectType.CONFIG else [self._group]
        return self._files.list(self._below(config_path) or "", results_filter)

    def _below(self, config_path: str) -> str | None:
        """Give the path below the folder, "" for the folder itself; None for what is of another group."""
        group, _, below = config_path.partition("/")
        return below if group == self._group else None


@final
class GroupFolders(SearchPathPlugin):
    """Puts the folders into Hydra's search path, which makes the plugin itself."""

    folders: ClassVar[Mapping[str, Path]] = {}

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append every folder."""
        for group, folder in self.folders.items():
            search_path.append("alpl", f"{GroupFolder.scheme()}://{group}={folder}")
