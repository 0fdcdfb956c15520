"""The verdicts of a whole table: what each number is told against, and which runs have another setting."""

from __future__ import annotations

import statistics
from dataclasses import replace

from alpl.report.judged.comparison import Cell, Comparison, Line
from alpl.report.judged.intervals import Sample, welch_half_width
from alpl.report.judged.verdict import Gain, Verdict, judge, judge_row
from alpl.report.read.paper import PaperTable

MAX_CHANGES = 4  # changed settings that a sentence lists; more are counted


def with_verdicts(comparison: Comparison, table: PaperTable) -> Comparison:
    """Give the comparison with a verdict for each number and row of the paper that ours stands beside.

    One that is not to be judged gets only the sentences about settings.
    """
    if not comparison.is_judged:
        return replace(comparison, settings=_settings(comparison))
    reference = [line for line in comparison.lines if line.paper_row == comparison.reference]
    printed = {place: cell for line in reference for place, cell in enumerate(line.cells) if cell.paper_mean}
    ours = {place: cell for line in reversed(reference) for place, cell in enumerate(line.cells) if cell.ours}
    bounds = _bounds(comparison, printed, table)

    def judged(line: Line) -> Line:
        is_reference = line.paper_row == comparison.reference and not table.gain_over
        cells = []
        for place, cell in enumerate(line.cells):
            gain = _own(cell) if table.gain_over else _gain(cell, printed.get(place), ours.get(place))
            slip = table.contradicted.get(line.paper_row, {}).get(cell.column, "")
            cells.append(replace(cell, verdict=_verdict(cell, table, bounds[place], gain, is_reference, slip)))
        told = [cell.verdict for cell in cells if cell.paper_mean]
        return replace(line, cells=tuple(cells), verdict=judge_row(told) if told and line.label else None)

    lines = tuple(judged(line) for line in comparison.lines)
    return replace(comparison, lines=lines, settings=_settings(comparison))


def _verdict(
    cell: Cell, table: PaperTable, bound: float | None, gain: Gain | None, is_reference: bool, slip: str
) -> Verdict | None:
    if not cell.paper_mean or cell.ours is None:
        return None
    if not cell.is_comparable:
        return Verdict("cannot tell", "other data or another metric than the paper's")
    if cell.changes is None:
        return Verdict("cannot tell", "the runs do not say whether their setting is the experiment's")
    if cell.changes:
        return Verdict("cannot tell", "another setting than the experiment's")
    if slip:
        return Verdict("cannot tell", f"the paper contradicts itself: {slip}")
    paper = Sample(float(cell.paper_mean), float(cell.paper_std) if cell.paper_std else None, table.paper_seeds or 0)
    decimals = len(cell.paper_mean.partition(".")[2])
    return judge(_sample(cell), paper, bound=bound, gain=gain, is_reference=is_reference, digit=0.5 * 10.0**-decimals)


def _bounds(comparison: Comparison, printed: dict[int, Cell], table: PaperTable) -> list[float | None]:
    """Give the widest half width of each column: the tolerance, or the paper's median gain in the same unit.

    The cycles of one data set are in one unit, columns of several data sets are not.
    """
    gains: dict[int, list[float]] = {}
    for line in comparison.lines:
        for place, cell in enumerate(line.cells):
            is_other = table.gain_over or line.paper_row != comparison.reference
            if cell.paper_mean and is_other and (table.gain_over or place in printed):
                base = 0.0 if table.gain_over else float(printed[place].paper_mean)
                gains.setdefault(0 if comparison.by_cycle else place, []).append(abs(float(cell.paper_mean) - base))
    medians = {unit: statistics.median(values) for unit, values in gains.items()}
    columns = range(len(comparison.lines[0].cells)) if comparison.lines else range(0)
    return [table.tolerance or medians.get(0 if comparison.by_cycle else place) for place in columns]


def _gain(cell: Cell, printed: Cell | None, reference: Cell | None) -> Gain | None:
    """Give the gain over the reference; None where it was not run, or either has a single seed."""
    if not cell.paper_mean or printed is None or reference is None or reference.changes != () or cell.ours is None:
        return None
    ours, base = _sample(cell), _sample(reference)
    if ours.num_seeds < 2 or base.num_seeds < 2:
        return None
    paper = float(cell.paper_mean) - float(printed.paper_mean)
    return Gain(paper, ours.mean - base.mean, welch_half_width(ours, base))


def _own(cell: Cell) -> Gain | None:
    """Give a number that is a gain itself."""
    if not cell.paper_mean or cell.ours is None or cell.ours.num_seeds < 2:
        return None
    return Gain(float(cell.paper_mean), _sample(cell).mean, welch_half_width(_sample(cell)))


def _sample(cell: Cell) -> Sample:
    assert cell.ours is not None, "the caller asks for cells with a number of ours only"
    std = None if cell.ours.std is None else cell.ours.std * cell.scale
    return Sample(cell.ours.mean * cell.scale, std, cell.ours.num_seeds)


def _settings(comparison: Comparison) -> tuple[str, ...]:
    """Say which rows have another setting than the experiment's; rows with the same changes share a sentence."""
    found: dict[tuple[str, ...] | None, dict[str, None]] = {}
    for line in comparison.lines:
        for cell in line.cells:
            if line.label and cell.changes != () and (cell.paper_mean or not line.paper_row):
                found.setdefault(cell.changes, {})[line.label] = None
    return tuple(_sentence(", ".join(labels), changes) for changes, labels in found.items())


def _sentence(labels: str, changes: tuple[str, ...] | None) -> str:
    if changes is None:
        return f"{labels}: run.json does not say what the command line changed of the experiment's setting."
    if len(changes) <= MAX_CHANGES:
        told = f"Changed (in parentheses the experiment's): {', '.join(changes)}."
    else:
        groups = dict.fromkeys(change.partition("=")[0].partition(".")[0] for change in changes)
        told = f"Changed are {len(changes)} settings of {', '.join(groups)}; run.json names them."
    return f"{labels}: not the experiment's setting, so the paper's numbers are of another one. {told}"
