"""Image files that come more than once: under one path, through links, or as copies with the same bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from alpl.data.image_files import content_of, of_files

Groups: TypeAlias = "list[list[int]]"
_TAIL = 4096  # bytes at the end of a file, where checksums and the last of what is compressed lie


class Repeats(NamedTuple):
    """Positions of files that come more than once: those of one file or content together, ascending.

    Args:
        files: one file, under one path or through symbolic links.
        copies: files with the same bytes; of each of ``files`` the first alone is among them.
    """

    files: Groups
    copies: Groups


def find_repeats(paths: Sequence[str], refused: Collection[int] = ()) -> Repeats:
    """Find them; what is no regular file, or not there, repeats by its path alone.

    Few of 100,000 photographs have to be read whole: those of equal length that end alike.

    Args:
        paths: the files.
        refused: positions of those that must not be opened; they repeat by their paths, too.
    """
    nodes = [() if at in refused else node for at, node in enumerate(of_files(_node, paths))]
    linked = _divided([[*range(len(paths))]], [node[:2] or path for node, path in zip(nodes, paths, strict=True)])
    files = _divided(linked, _asked(linked, paths, _real))
    again = {at for group in files for at in group[1:]}
    there = [at for at, node in enumerate(nodes) if node and at not in again]
    lengths = _divided([there], [node[2:] for node in nodes])
    ends = _divided(lengths, _asked(lengths, paths, _end))
    return Repeats(files, _divided(ends, _asked(ends, paths, content_of)))


def _asked(groups: Groups, paths: Sequence[str], about: Callable[[str], Hashable]) -> dict[int, Hashable]:
    """Ask something about the files of groups."""
    members = [at for group in groups for at in group]
    return dict(zip(members, of_files(about, [paths[at] for at in members]), strict=True))


def _divided(groups: Groups, key: Sequence[Hashable] | Mapping[int, Hashable]) -> Groups:
    """Divide groups by a key of each position; those of one position are left out."""
    found: dict[Hashable, list[int]] = {}
    for number, group in enumerate(groups):
        for at in group:
            found.setdefault((number, key[at]), []).append(at)
    return [group for group in found.values() if len(group) > 1]


def _node(path: str) -> tuple[int, ...]:
    """Device, node and length of a regular file; nothing where there is none: who opens a pipe waits for ever."""
    try:
        about = Path(path).stat()
    except (OSError, ValueError):  # the latter: no file can have such a name
        return ()
    return (about.st_dev, about.st_ino, about.st_size) if stat.S_ISREG(about.st_mode) else ()


def _real(path: str) -> str:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return path


def _end(path: str) -> bytes:
    try:
        with Path(path).open("rb") as stream:
            stream.seek(-min(_TAIL, os.fstat(stream.fileno()).st_size), os.SEEK_END)
            return stream.read()
    except (OSError, ValueError):
        return b""
