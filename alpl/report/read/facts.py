"""What the runs of a report have in common: when they ran, the model, epochs, batch, budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alpl.report.read.split import setting_of
from alpl.runs.results import RunResult

MOST_VALUES = 4
_SETTINGS = {
    "Model": ("model._target_", "model.network._target_", "model.network.backbone._target_"),
    "Epochs a fit": ("trainer.max_epochs",),
    "Batch": ("data.batch_size",),
    "Initial set": ("schedule.initial.size",),
    "Budget a query": ("schedule.budget",),
    "Queries": ("schedule.cycles",),
}


def facts(runs: Sequence[RunResult]) -> list[tuple[str, str]]:
    """Give name -> value of what the configs say, all values where runs differ; what none says is left out."""
    found = []
    days = [day for run in runs if (dates := run.dates) is not None for day in dates]
    if days:
        first, last = min(days), max(days)
        found.append(("Ran", first if first == last else f"{first} to {last}"))
    for name, keys in _SETTINGS.items():
        values = list(dict.fromkeys(text for run in runs if (text := _text(run.config, keys))))
        if values:
            more = f" and {len(values) - MOST_VALUES} more" if len(values) > MOST_VALUES else ""
            found.append((name, "; ".join(values[:MOST_VALUES]) + more))
    return found


def _text(config: Any, keys: Sequence[str]) -> str:
    """Join what the config says at these keys; a class is called by its own name."""
    told = [setting_of(config, key) for key in keys]
    return ", ".join(
        text.rpartition(".")[2] if "_target_" in key else text for key, text in zip(keys, told, strict=True) if text
    )
