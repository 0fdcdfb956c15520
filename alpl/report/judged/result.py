"""What came out, in a sentence or two a data set: who is ahead of the reference row, and what the seeds cannot tell."""

from __future__ import annotations

from collections.abc import Sequence

from alpl.report.judged.acquisitions import AcquisitionLine, AcquisitionTable
from alpl.report.judged.intervals import FEW_SEEDS
from alpl.report.read.tables import LOW, scale_of

LEVEL = 0.05


def results(tables: Sequence[AcquisitionTable]) -> list[str]:
    """Give the sentences of all data sets whose rows can be compared."""
    return [sentence for table in tables for sentence in _results(table)]


def _results(table: AcquisitionTable) -> list[str]:
    """Say which row leads by the area under its curve; rows are told apart by the corrected paired test."""
    sign = -1.0 if table.metric.startswith(LOW) else 1.0
    gains = {line.label: sign * line.area_gain.mean for line in table.lines if line.area_gain is not None}
    lines = {line.label: line for line in table.lines if line.label in gains}
    if not lines:
        return []
    best = lines[max(gains, key=lambda label: gains[label])]
    told = [label for label, line in lines.items() if _is_told(line)]
    ahead, behind = ([label for label in told if s * gains[label] > 0] for s in (1.0, -1.0))
    open_ = [label for label in lines if label not in told]
    sentences = [_of_best(table, best, gains[best.label])]
    if len(lines) > 1:
        counts = (
            f"Of {len(lines)} rows, {len(ahead)} can be told to be ahead of {table.reference}, {len(behind)} behind"
        )
        nobody = f"None of {len(lines)} rows can be told from {table.reference}."
        sentences.append(f"{counts}; of {len(open_)} the seeds cannot tell." if told else nobody)
    return [" ".join(sentences)]


def _of_best(table: AcquisitionTable, best: AcquisitionLine, gain: float) -> str:
    scale = scale_of(table.metric)
    metric = table.metric.removeprefix("test/").replace("_", " ")
    much = f"{abs(scale * gain):.2f} points of {metric}" if scale == 100 else f"{abs(gain):.4g} of {metric}"
    seeds = "1 seed" if best.num_pairs == 1 else f"{best.num_pairs} seeds"
    p = "" if best.adjusted is None else f" (p = {best.adjusted:.2g} after Holm's correction)"
    where, over = f"On {table.data}", "as a mean over the curve"
    if gain <= 0:
        return f"{where}, no row is ahead of {table.reference}; {best.label} comes next, {much} behind {over}."
    if _is_told(best):
        return f"{where}, {best.label} is ahead of {table.reference} by {much} {over}, in {seeds}{p}."
    why = f"{seeds} cannot tell the two apart{p}" if p else f"{seeds} cannot tell, which takes {FEW_SEEDS} at least"
    return f"{where}, {best.label} has the highest curve, {much} above {table.reference} {over}, but {why}."


def _is_told(line: AcquisitionLine) -> bool:
    return line.adjusted is not None and line.adjusted < LEVEL
