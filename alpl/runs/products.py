"""Products that runs share: made once, by the run that comes first, and kept in a folder below ``paths.cache``.

A product is a folder ``<kind>/<key>``, where the key is a hash of all that it depends on. It is whole or not there: its
maker fills ``<kind>/.<key>.partial``, which becomes the product by being renamed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from alpl.errors import ConfigError
from alpl.machine.files import read_json, sha256_of, write_json
from alpl.machine.locks import FileLock
from alpl.runs.environment import describe_environment

log = logging.getLogger("alpl")

ABOUT = "product.json"
_POLL_S = 1.0


@final
@dataclass(frozen=True)
class Product:
    """A whole one.

    Args:
        folder: its own; nothing in it may be changed.
    """

    folder: Path

    @property
    def name(self) -> str:
        """Name it below ``paths.cache``: ``<kind>/<key>``."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def files(self) -> list[str]:
        """Its files, relative to the folder, less the one that tells about it."""
        return list(read_json(self.folder / ABOUT)["files"])


def _key(content: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of what a product depends on, whatever the order of the keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def fault_of(folder: Path) -> str | None:
    """Say what is wrong with a product: a file lacks, or is not what it was when it was made; None if it is whole."""
    try:
        files = dict(read_json(folder / ABOUT)["files"])
        for name, about in files.items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != about["bytes"] or sha256_of(path) != about["sha256"]:
                return f"{name} is not what it was when it was made"
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        return f"{ABOUT} cannot be read: {type(error).__name__}: {error}"
    return None


@final
class Products:
    """The products below a folder.

    Args:
        root: ``paths.cache``; made when the first product is.
        waiting: hears about once a second that another process makes what is wanted, and who; what it raises ends the
            wait.
    """

    def __init__(self, root: Path, waiting: Callable[[str], None]) -> None:
        self.root = root
        self.waiting = waiting

    def name(self, kind: str, content: Mapping[str, Any]) -> str:
        """Name a product below the folder, made or not: ``<kind>/<key>``."""
        return f"{kind}/{_key(content)}"

    def get(
        self, kind: str, content: Mapping[str, Any], make: Callable[[Path], None], *, wait: bool = True
    ) -> Product | None:
        """Give a product; make it where it is not there, or wait for the living process that makes it.

        A product that is broken is told, and made again.

        Args:
            kind: what it is.
            content: all that it depends on, as JSON has it.
            make: fills a folder. Where an earlier maker was killed, the folder holds what that one left: it goes on
                from there, or overwrites it.
            wait: or else give None at once where another process makes it.

        Raises:
            ConfigError: it is to be made, and the folder cannot be written to.
        """
        folder = self.root / self.name(kind, content)
        if folder.exists() and fault_of(folder) is None:
            return Product(folder)
        lock = FileLock(folder.with_name(f".{folder.name}.lock"))
        while not self._try(lock):
            if not wait:
                return None
            self.waiting(f"waits for {kind}/{folder.name}, which {lock.holder or 'another process'} makes")
            time.sleep(_POLL_S)
        try:
            if not _is_whole(folder):  # it may have been made since
                _make(folder, content, make)
        finally:
            lock.release()
        return Product(folder)

    def _try(self, lock: FileLock) -> bool:
        try:
            lock.path.parent.mkdir(parents=True, exist_ok=True)
            return lock.try_acquire()
        except OSError as error:
            what = "a folder that can be made, written to and locked"
            raise ConfigError(f"paths.cache must be {what}, got {self.root}: {error.strerror}") from error


def _is_whole(folder: Path) -> bool:
    """Whether a product is there and whole; says so where it is broken."""
    fault = fault_of(folder) if folder.exists() else None
    if fault is not None:
        log.warning("%s is broken and is made again: %s", folder, fault)
    return folder.exists() and fault is None


def _make(folder: Path, content: Mapping[str, Any], make: Callable[[Path], None]) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    partial.mkdir(exist_ok=True)
    start = time.perf_counter()
    make(partial)
    for leftover in list(partial.rglob(".*.tmp")):  # of writers that were killed: see alpl/machine/files.py
        leftover.unlink()
    (partial / ABOUT).unlink(missing_ok=True)  # of a maker that was killed just before the end
    files = sorted(path for path in partial.rglob("*") if path.is_file())
    about = {
        "kind": folder.parent.name,
        "content": content,
        "seconds": round(time.perf_counter() - start, 3),
        "made_by": f"process {os.getpid()} on {socket.gethostname()}",
        "environment": describe_environment(),
        "files": {
            path.relative_to(partial).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
            for path in files
        },
    }
    write_json(partial / ABOUT, about)
    shutil.rmtree(folder, ignore_errors=True)  # a broken one
    partial.replace(folder)
