"""Image files that come more than once: under one path, through links, or as copies with the same bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeAlias

from alpl.data.image_files import NUM_THREADS, content_of

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


def find_repeats(paths: Sequence[str]) -> Repeats:
    """Find them; files that are not there repeat by their paths alone.

    Few of 100,000 photographs have to be read whole: those of equal length that end alike.
    """
    with ThreadPoolExecutor(NUM_THREADS) as threads:
        nodes = list(threads.map(_node, paths))
    linked = _groups([[*range(len(paths))]], lambda at: nodes[at][:2] if nodes[at] else paths[at])
    files = _groups(linked, lambda at: os.path.realpath(paths[at]))
    again = {at for group in files for at in group[1:]}
    there = [at for at in range(len(paths)) if nodes[at] and at not in again]
    lengths = _groups([there], lambda at: nodes[at][2:])
    ends = _groups(lengths, lambda at: _end(paths[at]))
    return Repeats(files, _groups(ends, lambda at: content_of(paths[at])))


def _groups(groups: Groups, key: Callable[[int], Hashable]) -> Groups:
    """Divide groups by a key; those of one position are left out."""
    members = [(number, at) for number, group in enumerate(groups) for at in group]
    with ThreadPoolExecutor(NUM_THREADS) as threads:
        keys = threads.map(lambda member: key(member[1]), members)
        found: dict[Hashable, list[int]] = {}
        for (number, at), one in zip(members, keys, strict=True):
            found.setdefault((number, one), []).append(at)
    return [group for group in found.values() if len(group) > 1]


def _node(path: str) -> tuple[int, ...]:
    """Device, node and length of a file; nothing where there is none."""
    try:
        about = Path(path).stat()
    except OSError:
        return ()
    return about.st_dev, about.st_ino, about.st_size


def _end(path: str) -> bytes:
    try:
        with Path(path).open("rb") as stream:
            stream.seek(-min(_TAIL, os.fstat(stream.fileno()).st_size), os.SEEK_END)
            return stream.read()
    except OSError:
        return b""
