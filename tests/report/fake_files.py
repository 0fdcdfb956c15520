"""What all made-up run folders write alike: hashes of configs, and the files that tell how far a run came."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alpl.machine.files import write_text


def hash_of(config: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def write_progress(
    folder: Path, lines: Sequence[str], journal: Sequence[dict[str, Any]], *, finished: bool, error: str | None
) -> None:
    """Write ``metrics.csv`` and ``journal.jsonl``, and ``error.txt`` of a run that failed."""
    write_text(folder / "metrics.csv", "\n".join(lines) + "\n")
    entries = [*journal, *([{"stage": "finished"}] if finished and error is None else [])]
    write_text(folder / "journal.jsonl", "".join(json.dumps(entry) + "\n" for entry in entries))
    if error is not None:
        write_text(folder / "error.txt", f"Traceback (most recent call last):\n  ...\n{error}\n")
