"""The journal of a run: one line of JSON a finished stage, in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alpl.errors import DataError
from alpl.machine.files import reading, unsealed

FILE = "journal.jsonl"


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Read the entries; none where there is no file.

    A last line that is not whole was not written to its end: its stage is not done. Every line has a checksum of its
    own, but those of earlier versions.

    Raises:
        DataError: the file cannot be read, or another line is none that was written.
    """
    if not path.exists():
        return []
    with reading(path, "one finished stage a line"):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            _check(entry)
            entries.append(unsealed(entry))
        except ValueError as error:
            if number == len(lines):
                break
            raise DataError(
                f"line {number} of {path} must be one stage of the run as JSON: {error}; delete it and those behind "
                "it, and the same command does these stages again"
            ) from error
    return entries


def _check(entry: Any) -> None:
    """Make sure that an entry is of the form that is written, whatever its values.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(entry, dict) or not isinstance(entry.get("stage"), str):
        raise ValueError("it names no stage")
    if entry["stage"] == "finished":
        return
    cycle, seconds, files = entry.get("cycle"), entry.get("seconds"), entry.get("files", {})
    if not isinstance(cycle, int) or cycle < 0:
        raise ValueError(f"its cycle must be a whole number >= 0, got {cycle!r}")
    if not isinstance(seconds, (int, float)):
        raise ValueError(f"its seconds must be a number, got {seconds!r}")
    if not isinstance(files, dict) or not all(isinstance(each, str) for each in files.values()):
        raise ValueError("its files must have a checksum each")
