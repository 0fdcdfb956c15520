"""What a sweep still lacks, told against what the experiment's own sweep asks for."""

from __future__ import annotations

from collections.abc import Sequence

from alpl.report.read.aggregate import Variant
from alpl.runs.results import RunResult

_ROWS = ("method", "acquisition")  # the groups after which a row is called


def gaps(variants: Sequence[Variant]) -> list[str]:
    """Say which rows were not begun and which seeds are missing, a sentence each; empty where nothing is missing.

    Runs of no experiment plan nothing: of them only started seeds can be missing, which their status says.
    """
    sentences = []
    for data in dict.fromkeys(variant.data for variant in variants):
        members = [variant for variant in variants if variant.data == data]
        sentences += [_missing_seeds(variant) for variant in members if variant.missing_seeds and _plan(variant.runs)]
        begun = {variant.row for variant in members}
        planned = dict.fromkeys(row for v in members for name in _ROWS for row in _plan(v.runs).get(name, ()))
        if absent := [row for row in planned if row not in begun]:
            sentences.append(f"{data}: not begun: {', '.join(absent)}.")
    plans = [_plan(variant.runs).get("data", ()) for variant in variants]
    names = {variant.data.split(", ")[0] for variant in variants}  # a split table's data are "name, setting"
    if absent := [data for data in dict.fromkeys(name for plan in plans for name in plan) if data not in names]:
        sentences.append(f"Not begun at all: {', '.join(absent)}.")
    return sentences


def seeds_text(variant: Variant) -> str:
    """Give the number of finished seeds, "k of n" where some are missing."""
    planned, missing = len(variant.planned_seeds), len(variant.missing_seeds)
    return str(planned) if not missing else f"{planned - missing} of {planned}"


def _missing_seeds(variant: Variant) -> str:
    runs = {run.seed: run for run in variant.runs}
    told = [f"{seed} ({_state(runs.get(seed))})" for seed in variant.missing_seeds]
    return f"{variant.data}: {variant.label} has {seeds_text(variant)} seeds, missing: {', '.join(told)}."


def _state(run: RunResult | None) -> str:
    if run is None:
        return "not begun"
    return f"{run.status}, {len(run.cycles)} of {run.num_cycles} cycles"


def _plan(runs: Sequence[RunResult]) -> dict[str, tuple[str, ...]]:
    return {name: values for run in runs for name, values in run.planned.items()}
