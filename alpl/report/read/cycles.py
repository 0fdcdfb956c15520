"""Which cycle a single number of a row is of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from alpl.errors import DataError
from alpl.report.read.aggregate import Variant
from alpl.runs.results import CycleResult, RunResult

LAST, MEAN = "last", "mean"


def check_cycle(place: str, given: object) -> int | str:
    """Give a cycle as a yaml names it: ``last``, ``mean`` or a number.

    Raises:
        DataError: it is something else; ``place`` is the key that is named then.
    """
    if given in (LAST, MEAN) or (isinstance(given, int) and not isinstance(given, bool) and given >= 0):
        return given
    raise DataError(f"{place} must be {LAST}, {MEAN} or the number of a cycle, got {given!r}")


def at_cycle(variant: Variant, cycle: int | str) -> Variant:
    """Give a variant whose last cycle has the number that is wanted.

    ``last`` changes nothing. Of ``mean`` the last cycle has the mean over all cycles, where a run has finished them
    all. With a number that cycle is the last one; training on all data has a single cycle, which stands for each.
    """
    if cycle == LAST or variant.is_all_data:
        return variant
    if cycle == MEAN:
        return replace(variant, runs=tuple(_mean(run) for run in variant.runs))
    return replace(variant, runs=tuple(_until(run, int(cycle)) for run in variant.runs))


def _mean(run: RunResult) -> RunResult:
    if len(run.cycles) < run.num_cycles:
        return replace(run, cycles=run.cycles[: run.num_cycles - 1])
    *before, last = run.cycles
    names = (name for name in last.metrics if all(name in cycle.metrics for cycle in before))
    return replace(run, cycles=(*before, replace(last, metrics=_means(run.cycles, tuple(names)))))


def _means(cycles: tuple[CycleResult, ...], names: tuple[str, ...]) -> Mapping[str, float]:
    return {name: sum(cycle.metrics[name] for cycle in cycles) / len(cycles) for name in names}


def _until(run: RunResult, cycle: int) -> RunResult:
    return replace(run, cycles=tuple(one for one in run.cycles if one.cycle <= cycle), num_cycles=cycle + 1)
