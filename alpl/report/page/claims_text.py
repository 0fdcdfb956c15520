"""The claims of an experiment as a sheet for the page and for Markdown, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from alpl.report.judged.claims import JudgedClaim
from alpl.report.page.sheets import Entry, Sheet
from alpl.report.read.tables import EMPTY, metric_title

HEAD = ("claim", "data", "row", "than", "measured", "verdict", "why", "mean difference", "p", "seeds")
EXPLANATION = (
    "Paired t-test over the seeds of the verdict, in the metric's own unit; positive where the claim is right. p is of "
    "each claim alone: of twenty judged, one may hold by chance."
)


def claims_sheet(claims: Sequence[JudgedClaim]) -> Sheet:
    """Give a line a claim and data set."""
    lines = tuple(tuple(Entry(text) for text in _line(one)) for one in claims)
    return Sheet("Claims", HEAD, lines, num_texts=7, notes=(EXPLANATION,))


def claims_csv(claims: Sequence[JudgedClaim]) -> str:
    """Give the same for machines, with the seconds and commits of the runs."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ("claim", "data", "row", "than", "metric", "at", "difference", "verdict", "reason", "differences", "missing",
         "low", "high", "p", "power", "seconds", "commits")
    )  # fmt: skip
    for one in claims:
        claim, verdict = one.claim, one.verdict
        low, high = verdict.interval or ("", "")
        test = ("" if verdict.p_value is None else verdict.p_value, "" if verdict.power is None else verdict.power)
        told = (verdict.word, verdict.reason, _joined(verdict.differences), _joined(verdict.missing))
        writer.writerow(
            (claim.name, one.data, claim.row, claim.than, one.metric or "", claim.at, claim.difference, *told,
             low, high, *test, one.seconds, " ".join(one.commits))
        )  # fmt: skip
    return stream.getvalue()


def _line(one: JudgedClaim) -> tuple[str, ...]:
    claim, verdict = one.claim, one.verdict
    at = claim.at if isinstance(claim.at, str) else f"cycle {claim.at}"
    measured = f"{metric_title(one.metric)}, {at}" if one.metric else EMPTY
    paired = verdict.differences
    mean = f"{sum(paired) / len(paired):+.4g}" if paired else EMPTY
    p = EMPTY if verdict.p_value is None else f"{verdict.p_value:.2g}"
    seeds = f"{len(paired)} of {len(claim.seeds)}"
    return (claim.name, one.data, claim.row, claim.than, measured, verdict.word, verdict.reason, mean, p, seeds)


def _joined(values: Sequence[float]) -> str:
    return " ".join(str(value) for value in values)
