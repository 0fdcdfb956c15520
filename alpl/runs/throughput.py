"""How fast images went through a stage, as its line in a run's journal has it. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final


@final
@dataclass(frozen=True)
class StageThroughput:
    """Of a fit or a prediction.

    Args:
        images_per_second: without validation, tracking and checkpoints.
        waiting: share of that time in which data were waited for.
        gpu_bytes: the most that torch had allocated of a GPU's memory; None on a CPU.
    """

    images_per_second: float
    waiting: float
    gpu_bytes: int | None = None


def throughputs(journal: Iterable[Mapping[str, Any]]) -> dict[tuple[int, str], StageThroughput]:
    """(cycle, stage) -> what its line says; stages of earlier versions of alpl say nothing."""
    return {
        (entry["cycle"], entry["stage"]): StageThroughput(
            float(entry["images_per_second"]), float(entry["waiting"]), entry.get("gpu_bytes")
        )
        for entry in journal
        if {"cycle", "stage", "images_per_second", "waiting"} <= entry.keys()
    }
