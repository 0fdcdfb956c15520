"""What is compared of runs that share their first cycle."""

import json
from pathlib import Path
from typing import Any

# Seconds and places differ by nature, and who trained is what is different.
_APART = {"journal.jsonl", "run.log", "environment.json", "cost.json", "lock", "config.yaml", "products.json"}


def contents(run: Path) -> dict[str, bytes]:
    """Every file of a run that must not depend on who trained its first cycle."""
    files = (path for path in sorted(run.rglob("*")) if path.is_file() and path.name not in _APART)
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def journal(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]


def row(runs: Path, name: str) -> Path:
    """The one run of a row."""
    (folder,) = (path.parent for path in runs.glob(f"*/{name}/*/run.json"))
    return folder


def taken(run: Path) -> dict[str, str]:
    """Which product each stage was taken from, of those that were."""
    return {entry["stage"]: entry["taken"] for entry in journal(run) if "taken" in entry}
