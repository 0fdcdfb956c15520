"""What a row gains over another: the tables that print differences (thesis Tables 4.1 to 4.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from alpl.report.read.aggregate import Leaf, Variant, config_leaves
from alpl.runs.results import CycleResult, RunResult


def gains(variants: Sequence[Variant], over: Mapping[str, str]) -> list[Variant]:
    """Give the variants whose row is in ``over``, with each metric less that of the other row.

    Seed by seed and cycle by cycle: both rows of a seed began with the same labels. What the other row has not
    measured (yet) is left out. The other row is the one on the very same data: data set and its config.

    Args:
        variants: all of a table.
        over: row -> the row that it is told against.
    """
    found = []
    for variant in variants:
        if variant.row in over:
            others = [
                other for other in variants if other.row == over[variant.row] and data_of(other) == data_of(variant)
            ]
            theirs = {run.seed: run for other in others for run in other.runs}
            runs = tuple(_less(run, theirs.get(run.seed)) for run in variant.runs)
            found.append(Variant(f"{variant.label} less {over[variant.row]}", runs))
    return found


def _less(run: RunResult, other: RunResult | None) -> RunResult:
    theirs = {result.cycle: result.metrics for result in other.cycles} if other is not None else {}
    return replace(
        run, cycles=tuple(_minus(result, theirs[result.cycle]) for result in run.cycles if result.cycle in theirs)
    )


def _minus(result: CycleResult, theirs: Mapping[str, float]) -> CycleResult:
    metrics = {name: value - theirs[name] for name, value in result.metrics.items() if name in theirs}
    return replace(result, metrics=metrics)


def data_of(variant: Variant) -> tuple[str, list[Leaf]]:
    """The data set's name and its config."""
    leaves = config_leaves(variant.runs[0].config.get("data"))
    return variant.data, leaves
