"""The journal of a run: one line of JSON a finished stage, in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alpl.errors import DataError

FILE = "journal.jsonl"


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Read the entries; none where there is no file.

    A last line that is no JSON was not written to its end: its stage is not done.

    Raises:
        DataError: another line is no JSON object with a stage.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict) or not isinstance(entry.get("stage"), str):
                raise ValueError("it names no stage")
        except ValueError as error:
            if number == len(lines):
                break
            raise DataError(f"line {number} of {path} must be one stage of the run as JSON: {error}") from error
        entries.append(entry)
    return entries
