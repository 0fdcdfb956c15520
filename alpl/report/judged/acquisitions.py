"""Acquisitions compared: area under the budget curve, labels saved, paired differences to a reference row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from alpl.report.judged.budget import Curve, common_range, images_saved, objects_saved
from alpl.report.judged.intervals import Sample, bootstrap_interval, holm, paired_p_value
from alpl.report.read.aggregate import Variant, mean_std
from alpl.report.read.classes import reference_label
from alpl.report.read.tables import LOW, WideTable
from alpl.runs.results import RunResult

OBJECTS = "num_labeled_objects"


@final
@dataclass(frozen=True)
class Paired:
    """Differences to the reference row, one a pair of runs with the same seed and initial set.

    Args:
        values: at least one.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return mean_std(self.values)[0]

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % bootstrap interval of the mean; None with too few seeds."""
        return bootstrap_interval(self.values)


@final
@dataclass(frozen=True)
class AcquisitionLine:
    """One row.

    Args:
        label: of the variant.
        area: mean height of the curve over the common range of labeled images, over the seeds.
        final: the metric at the end of that range, over the seeds.
        num_pairs: runs that have a partner in the reference row.
        area_gain: of the area, the metric as measured; None for the reference row and without a pair.
        final_gain: of the last value.
        images: labeled images saved at equal accuracy, see :func:`alpl.report.judged.budget.images_saved`.
        objects: labeled objects saved; None where a pair did not count them.
        p_value: of the paired t-test that the areas do not differ; None with too few seeds.
        adjusted: the same after Holm's correction over the rows of the data set.
    """

    label: str
    area: Sample
    final: Sample
    num_pairs: int = 0
    area_gain: Paired | None = None
    final_gain: Paired | None = None
    images: Paired | None = None
    objects: Paired | None = None
    p_value: float | None = None
    adjusted: float | None = None


@final
@dataclass(frozen=True)
class AcquisitionTable:
    """The rows of one data set.

    Args:
        data: the data set's name.
        metric: that the curves are of.
        reference: the label of the row that differences are told against.
        low: labeled images at which the common range begins.
        high: where it ends.
        lines: the reference row and the others, in the order of the table.
    """

    data: str
    metric: str
    reference: str
    low: float
    high: float
    lines: tuple[AcquisitionLine, ...]


def acquisition_tables(tables: Sequence[WideTable], reference: str | None, notes: list[str]) -> list[AcquisitionTable]:
    """Compare the rows of each data set that has two of them with a finished run.

    Only runs that measured all their cycles count. Training on all data has no curve and is left out.

    Args:
        tables: one a data set.
        reference: the row that differences are told against; ``random``, or the first one, where it was not run.
        notes: what is left out is named here (appended to).
    """
    found = (_compare(table, reference, notes) for table in tables)
    return [one for one in found if one is not None]


def _compare(table: WideTable, reference: str | None, notes: list[str]) -> AcquisitionTable | None:
    metric = table.metric
    if metric is None:
        return None
    curves = {variant.label: _curves(variant, metric) for variant in table.variants if not variant.is_all_data}
    variants = [variant for variant in table.variants if curves.get(variant.label)]
    if len(variants) < 2:
        return None
    limits = common_range([curve for variant in variants for _, curve in curves[variant.label]])
    if limits is None:
        notes.append(f"{table.data}: acquisitions are not compared, as their curves have no stretch in common")
        return None
    label = reference_label(variants, reference)
    base = {run.seed: (run, curve) for run, curve in curves[label]}
    sign = -1.0 if metric.startswith(LOW) else 1.0
    lines, strange = [], []
    for variant in variants:
        line = _line(variant.label, [curve for _, curve in curves[variant.label]], limits, sign)
        if variant.label != label:
            pairs, unlike = _pairs(curves[variant.label], base)
            line = _paired(line, pairs, limits, sign)
            strange += [f"{variant.label} in seed {', '.join(map(str, unlike))}"] if unlike else []
        lines.append(line)
    if strange:
        reason = f"as the initial sets differ from that of {label} or are not recorded"
        notes.append(f"{table.data}: no paired differences of {'; '.join(strange)}, {reason}")
    adjusted = holm([line.p_value for line in lines])
    lines = [replace(line, adjusted=p) for line, p in zip(lines, adjusted, strict=True)]
    return AcquisitionTable(table.data, metric, label, *limits, tuple(lines))


def _curves(variant: Variant, metric: str) -> list[tuple[RunResult, Curve]]:
    """Give the runs that measured all their cycles, with their curves turned so that higher is better."""
    sign = -1.0 if metric.startswith(LOW) else 1.0
    found = []
    for run in variant.runs:
        results = [result for result in run.cycles if metric in result.metrics]
        values = np.array([sign * result.metrics[metric] for result in results])
        if len(results) == run.num_cycles > 1 and np.isfinite(values).all():
            counted = [result.counts.get(OBJECTS) for result in results]
            objects = None if None in counted else np.array(counted, dtype=np.float64)
            labeled = np.array([result.num_labeled for result in results], dtype=np.float64)
            found.append((run, Curve(labeled, values, objects)))
    return found


def _line(label: str, curves: Sequence[Curve], limits: tuple[float, float], sign: float) -> AcquisitionLine:
    areas = [sign * curve.area(*limits) for curve in curves]
    finals = [sign * curve.at(limits[1]) for curve in curves]
    return AcquisitionLine(label, Sample(*mean_std(areas), len(areas)), Sample(*mean_std(finals), len(finals)))


def _pairs(
    curves: Sequence[tuple[RunResult, Curve]], base: Mapping[int, tuple[RunResult, Curve]]
) -> tuple[list[tuple[Curve, Curve]], list[int]]:
    """Pair runs of the same seed that began with the same labels; give the seeds that did not, too."""
    pairs, unlike = [], []
    for run, curve in curves:
        if run.seed in base:
            other, theirs = base[run.seed]
            if run.initial_pool is not None and run.initial_pool == other.initial_pool:
                pairs.append((curve, theirs))
            else:
                unlike.append(run.seed)
    return pairs, unlike


def _paired(
    line: AcquisitionLine, pairs: Sequence[tuple[Curve, Curve]], limits: tuple[float, float], sign: float
) -> AcquisitionLine:
    if not pairs:
        return line
    areas = tuple(sign * (ours.area(*limits) - theirs.area(*limits)) for ours, theirs in pairs)
    finals = tuple(sign * (ours.at(limits[1]) - theirs.at(limits[1])) for ours, theirs in pairs)
    know_objects = all(curve.objects is not None for pair in pairs for curve in pair)
    return replace(
        line,
        num_pairs=len(pairs),
        area_gain=Paired(areas),
        final_gain=Paired(finals),
        images=Paired(tuple(images_saved(*pair, *limits) for pair in pairs)),
        objects=Paired(tuple(objects_saved(*pair, *limits) for pair in pairs)) if know_objects else None,
        p_value=paired_p_value(areas),
    )
