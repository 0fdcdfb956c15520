"""The claims of an experiment, each judged on every data set that has both of its rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from alpl.report.judged.budget import Curve, common_range
from alpl.report.judged.claimed import ClaimVerdict, judge_claim
from alpl.report.read.aggregate import Variant, primary_metric
from alpl.report.read.claims import AREA, Claim
from alpl.report.read.cycles import at_cycle
from alpl.report.read.tables import LOW
from alpl.runs.results import RunResult


@final
@dataclass(frozen=True)
class JudgedClaim:
    """A claim on one data set.

    Args:
        claim: what is claimed.
        data: the data set's name.
        metric: of ours, by which it was judged; None where nothing is measured.
        verdict: what the seeds say.
        seconds: of all stages of the runs of the claim's seeds.
        commits: of alpl, of these runs.
    """

    claim: Claim
    data: str
    metric: str | None
    verdict: ClaimVerdict
    seconds: float = 0.0
    commits: tuple[str, ...] = ()


def judged_claims(claims: Sequence[Claim], variants: Sequence[Variant], named: str | None) -> list[JudgedClaim]:
    """Judge each claim on each data set; with a row that is not there (yet) nothing can be told.

    Only finished runs count, and of a seed only two that began with the same labels.

    Args:
        claims: in their order.
        variants: the lines of the whole table.
        named: the table's metric as the experiment names it.
    """
    sets = dict.fromkeys(variant.data for variant in variants)
    return [_judged(one, data, [v for v in variants if v.data == data], named) for one in claims for data in sets]


def _judged(claim: Claim, data: str, variants: Sequence[Variant], named: str | None) -> JudgedClaim:
    metric = primary_metric(variants, claim.metric or named)
    if metric is None:
        return JudgedClaim(claim, data, None, ClaimVerdict("cannot tell", "nothing is measured yet", (), claim.seeds))
    pair = []
    for name in (claim.row, claim.than):
        lines = [variant for variant in variants if name in (variant.row, variant.label)]
        if len(lines) != 1:
            why = f"{len(lines)} lines of the table are {name}, it takes one"
            return JudgedClaim(claim, data, metric, ClaimVerdict("cannot tell", why, (), claim.seeds))
        pair.append(_finished(lines[0], claim.seeds))
    ours, other = pair
    alike = [seed for seed in claim.seeds if _began_alike(ours.get(seed), other.get(seed))]
    values = [
        _values({seed: runs[seed] for seed in alike}, claim, metric, _range(pair, alike, metric)) for runs in pair
    ]
    verdict = judge_claim(values[0], values[1], seeds=claim.seeds, difference=claim.difference)
    runs = [*ours.values(), *other.values()]
    seconds = math.fsum(value for run in runs for value in run.seconds.values())
    commits = dict.fromkeys(str(run.environment.get("git_commit", "unknown")) for run in runs)
    return JudgedClaim(claim, data, metric, verdict, seconds, tuple(commits))


def _finished(variant: Variant, seeds: Sequence[int]) -> dict[int, RunResult]:
    return {run.seed: run for run in variant.runs if run.status == "finished" and run.seed in seeds}


def _began_alike(ours: RunResult | None, other: RunResult | None) -> bool:
    if ours is None or other is None:
        return False
    return ours.initial_pool is not None and ours.initial_pool == other.initial_pool


def _range(pair: Sequence[Mapping[int, RunResult]], seeds: Sequence[int], metric: str) -> tuple[float, float] | None:
    curves = [_curve(runs[seed], metric) for runs in pair for seed in seeds]
    measured = [curve for curve in curves if len(curve.labeled)]
    return common_range(measured) if measured else None


def _curve(run: RunResult, metric: str) -> Curve:
    """Give the run's curve, turned so that higher is better."""
    sign = -1.0 if metric.startswith(LOW) else 1.0
    measured = [(one.num_labeled, sign * one.metrics[metric]) for one in run.cycles if metric in one.metrics]
    finite = [(labeled, value) for labeled, value in measured if math.isfinite(value)]
    points = np.array(finite, dtype=np.float64).reshape(-1, 2)
    return Curve(points[:, 0], points[:, 1])


def _values(
    runs: Mapping[int, RunResult], claim: Claim, metric: str, limits: tuple[float, float] | None
) -> dict[int, float]:
    """Give seed -> the number that is judged; a run without it is left out."""
    if claim.at == AREA:
        curves = {seed: _curve(run, metric) for seed, run in runs.items()}
        return {seed: one.area(*limits) for seed, one in curves.items() if len(one.labeled)} if limits else {}
    found = {}
    for seed, run in runs.items():
        last = at_cycle(Variant("", (run,)), claim.at).runs[0]
        wanted = last.cycles[last.num_cycles - 1 :]  # none where a run has fewer cycles than that
        if wanted and math.isfinite(wanted[-1].metrics.get(metric, math.nan)):
            found[seed] = (-1.0 if metric.startswith(LOW) else 1.0) * wanted[-1].metrics[metric]
    return found
