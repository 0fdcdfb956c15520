"""Foreign names on a terminal: they are shown, and command nothing."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import NoReturn


def printable(text: str) -> str:
    r"""Write what is no letter as an escape, so that a name cannot move the cursor or change colors.

    >>> printable("a\x1b[2Jb\tc")
    'a\\x1b[2Jb\tc'
    """
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode("ascii") for c in text)


def tolerate_narrow_encodings() -> None:
    """Have letters that the terminal's encoding lacks written as question marks: they are no reason to fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def leave_closed_pipe() -> NoReturn:
    """End where whoever read the output has enough (``| head``): without a word, as other programs do."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered still goes nowhere
    raise SystemExit(128 + signal.SIGPIPE)
