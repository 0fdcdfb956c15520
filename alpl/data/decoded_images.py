"""Which image files were decoded to their end, so that nobody decodes them again while they have not changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias, final

from alpl.data.image_files import stamp
from alpl.errors import DataError
from alpl.machine.files import read_sealed, write_sealed
from alpl.machine.processes import rank

Stamp: TypeAlias = "tuple[int, int]"  # bytes of a file, and when it was last changed

_decoded: dict[str, Stamp] = {}
"""Files that this process has decoded, or has read that others have."""


@final
class DecodedImages:
    """The images of a split that were decoded, whole, by this process or an earlier one.

    Args:
        folder: where it is noted for other processes, a file for each folder of images; None for this process alone.
        paths: the images.
    """

    def __init__(self, folder: str | None, paths: Iterable[str]) -> None:
        self._found: dict[str, Stamp] = {}
        self._places = {path: str(Path(path).absolute()) for path in paths}
        names = {str(Path(place).parent) for place in self._places.values()} if folder is not None else set()
        self._files = {
            name: Path(str(folder)) / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json" for name in sorted(names)
        }
        for file in self._files.values():
            _decoded.update(_read(file))

    def __contains__(self, path: str) -> bool:
        return _decoded.get(self._places[path]) == stamp(path)

    def add(self, path: str, before: Stamp) -> None:
        """Note a file that was decoded; ``before`` is what :func:`alpl.data.image_files.stamp` had said of it."""
        self._found[self._places[path]] = before

    def save(self) -> None:
        """Tell other processes of those that were added; where that cannot be written, they decode them again."""
        _decoded.update(self._found)
        if not self._found or not self._files or rank() != 0:
            return
        new: dict[str, dict[str, Stamp]] = {}
        for path, each in self._found.items():
            new.setdefault(str(Path(path).parent), {})[path] = each
        try:
            for name, found in new.items():
                write_sealed(self._files[name], {"decoded": _read(self._files[name]) | found})
        except OSError:
            return


def _read(file: Path) -> dict[str, Stamp]:
    """Read what was noted; nothing of a file that is broken: it is written anew."""
    try:
        noted = read_sealed(file)["decoded"] if file.exists() else {}
        return {str(path): (int(size), int(time)) for path, (size, time) in noted.items()}
    except (DataError, OSError, AttributeError, KeyError, TypeError, ValueError):
        return {}
