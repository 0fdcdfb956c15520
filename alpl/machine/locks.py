"""Locks that end with their process, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from pathlib import Path
from typing import IO, final


@final
class FileLock:
    """One process at a time holds a file.

    The lock is the operating system's (POSIX record lock), so it ends with its process however that ends, also on
    another machine of a cluster file system; the text in the file only tells a person who it was. The file stays: were
    it removed, two processes could hold a lock each, on the old file and on the new one.

    Args:
        path: the file, in a folder that is there.
    """

    holder: str
    """After a try: who holds it or, where this process does now, who held it and died; empty where nobody did."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.holder = ""
        self._stream: IO[str] | None = None

    def try_acquire(self) -> bool:
        """Take it, if no other living process has it; give whether this one has it now.

        Raises:
            OSError: the file cannot be written to, or its file system has no locks (Lustre mounted without ``flock``).
        """
        stream = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644), "r+", encoding="utf-8", errors="replace")
        self.holder = stream.read().strip()
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            stream.close()
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise
        self._stream = stream
        _replace_text(stream, f"process {os.getpid()} on {socket.gethostname()}")
        return True

    def release(self) -> None:
        """Let it go; nothing where this process does not hold it."""
        if self._stream is not None:
            with self._stream as stream:
                _replace_text(stream, "")
            self._stream = None


def _replace_text(stream: IO[str], text: str) -> None:
    stream.seek(0)
    stream.truncate()
    stream.write(text)
    stream.flush()
