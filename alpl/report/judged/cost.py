"""What a row costs: images and objects bought, seconds, and each of them for a point of the metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from alpl.report.read.aggregate import Variant, mean_std
from alpl.report.read.tables import WideTable, csv_text, scale_of
from alpl.runs.results import RunResult

OBJECTS = "num_labeled_objects"


@final
@dataclass(frozen=True)
class CostPoint:
    """What one variant had paid at the end of one cycle, and what it had for it; means over its seeds.

    What was bought is counted since the initial set, which every row has alike: by the query of the cycle before
    (``bought``) and by all queries (``all_bought``).

    Args:
        cycle: the cycle.
        images: labeled images.
        images_bought: of them, by the query before this cycle; in cycle 0 the initial set.
        all_images_bought: of them, beyond the initial set.
        objects: labeled objects less difficult ones; None where no run counted them, as in classification.
        objects_bought: as ``images_bought``.
        all_objects_bought: as ``all_images_bought``.
        seconds: of all stages of this cycle; None where no run recorded them.
        all_seconds: of all stages of this cycle and those before.
        gain: the metric less that of cycle 0, in points (percent of a share); None where it was not measured.
        num_seeds: the seeds that finished this cycle.
        fit_speed: images a second of this cycle's fits; None where no run noted it, as for those below.
        predict_speed: images a second of this cycle's predictions.
        waiting: share of the fits' time in which data were waited for.
        gpu_bytes: the most that a fit or prediction had allocated of a GPU's memory.
        made: classes and boxes that a person gave or corrected, for all queries before this cycle; None in simulations.
        accepted: those that a person took as the model had found them.
        person_seconds: that all of it took; None where an answer does not say.
    """

    cycle: int
    images: float
    images_bought: float
    all_images_bought: float
    objects: float | None
    objects_bought: float | None
    all_objects_bought: float | None
    seconds: float | None
    all_seconds: float | None
    gain: float | None
    num_seeds: int
    fit_speed: float | None = None
    predict_speed: float | None = None
    waiting: float | None = None
    gpu_bytes: float | None = None
    made: float | None = None
    accepted: float | None = None
    person_seconds: float | None = None

    def a_point(self, paid: float | None) -> float | None:
        """Give what one point of gain cost: a ratio of means, as the mean of ratios has none where a seed lost.

        Returns:
            None where nothing was gained, or what was paid is not known.

        >>> CostPoint(1, 50, 20, 20, None, None, None, None, None, 4.0, 3).a_point(20)
        5.0
        """
        return None if paid is None or self.gain is None or self.gain <= 0 else paid / self.gain


@final
@dataclass(frozen=True, eq=False)
class CostTable:
    """One data set: label of a variant -> its points by cycle, ascending.

    Args:
        data: the data set's name.
        metric: what the gain is measured in.
        lines: of the variants that finished a cycle.
    """

    data: str
    metric: str
    lines: dict[str, tuple[CostPoint, ...]]

    @property
    def has_objects(self) -> bool:
        """Whether a run counted objects."""
        return any(point.objects is not None for points in self.lines.values() for point in points)

    @property
    def has_speed(self) -> bool:
        """Whether a run noted how fast images went through it."""
        return any(point.fit_speed is not None for points in self.lines.values() for point in points)

    @property
    def has_labor(self) -> bool:
        """Whether a person answered."""
        return any(point.made is not None for points in self.lines.values() for point in points)


def cost_tables(tables: Sequence[WideTable]) -> list[CostTable]:
    """Give the cost of each data set that has a measured cycle."""
    found = []
    for table in tables:
        if table.metric is not None:
            lines = {variant.label: _points(variant, table.metric) for variant in table.variants}
            found.append(CostTable(table.data, table.metric, {label: line for label, line in lines.items() if line}))
    return found


def cost_csv(tables: Sequence[CostTable]) -> str:
    """Write all points; a cost for a point is empty where nothing was gained."""
    header = ["data", "row", "cycle", "num_labeled", "images_bought", "all_images_bought", "num_labeled_objects"]
    header += ["objects_bought", "all_objects_bought", "seconds", "all_seconds", "gain"]
    header += ["images_a_point", "objects_a_point", "seconds_a_point", "seeds"]
    speed = any(table.has_speed for table in tables)
    header += ["fit_images_per_second", "predict_images_per_second", "waiting", "gpu_bytes"] if speed else []
    labor = any(table.has_labor for table in tables)
    header += ["made", "accepted", "person_seconds", "made_a_point", "person_seconds_a_point"] if labor else []
    lines = []
    for table, label, point in ((t, label, p) for t in tables for label, line in t.lines.items() for p in line):
        paid = [point.images, point.images_bought, point.all_images_bought]
        paid_objects = [point.objects, point.objects_bought, point.all_objects_bought]
        each = [point.a_point(p) for p in (point.all_images_bought, point.all_objects_bought, point.all_seconds)]
        numbers = [*paid, *paid_objects, point.seconds, point.all_seconds, point.gain, *each]
        noted = [point.fit_speed, point.predict_speed, point.waiting, point.gpu_bytes] if speed else []
        noted += _labor_of(point) if labor else []
        told = [point.cycle, *(_text(value) for value in numbers), point.num_seeds, *(_text(value) for value in noted)]
        lines.append([table.data, label, *told])
    return csv_text(header, lines)


def _points(variant: Variant, metric: str) -> tuple[CostPoint, ...]:
    cycles = sorted({result.cycle for run in variant.runs for result in run.cycles})
    return tuple(_point(variant.runs, cycle, metric) for cycle in cycles)


def _point(runs: Sequence[RunResult], cycle: int, metric: str) -> CostPoint:
    """Average the runs that finished the cycle; what they had before it is averaged over the same runs."""
    there = [run for run in runs if any(result.cycle == cycle for result in run.cycles)]
    images = [_images(run) for run in there]
    objects = [counts for counts in (_objects(run) for run in there) if {0, max(0, cycle - 1), cycle} <= counts.keys()]
    seconds = [run.seconds for run in there if any(c == cycle for c, _ in run.seconds)]
    gains = [gain for gain in (_gain(run, cycle, metric) for run in there) if gain is not None]
    now, new, added = _bought(images, cycle)
    objects_now, objects_new, objects_added = _bought(objects, cycle)
    return CostPoint(
        cycle=cycle,
        images=mean_std(now)[0],
        images_bought=mean_std(new)[0],
        all_images_bought=mean_std(added)[0],
        objects=_mean(objects_now),
        objects_bought=_mean(objects_new),
        all_objects_bought=_mean(objects_added),
        seconds=_mean([sum(value for (c, _), value in each.items() if c == cycle) for each in seconds]),
        all_seconds=_mean([sum(value for (c, _), value in each.items() if c <= cycle) for each in seconds]),
        gain=_mean(gains),
        num_seeds=len(there),
        **_speed(there, cycle),
        **_labor(there, cycle),
    )


def _labor(runs: Sequence[RunResult], cycle: int) -> dict[str, float | None]:
    """Average what a person had done before a cycle, over the runs in which one did all of it."""
    done = [[run.labor.get(before) for before in range(cycle)] for run in runs]
    known = [[each for each in labors if each is not None] for labors in done if None not in labors]
    if not cycle or not known:
        return {}
    seconds = [[each.seconds for each in labors if each.seconds is not None] for labors in known]
    return {
        "made": _mean([float(sum(each.made for each in labors)) for labors in known]),
        "accepted": _mean([float(sum(each.accepted for each in labors)) for labors in known]),
        "person_seconds": _mean([sum(each) for each in seconds if len(each) == cycle]),
    }


def _labor_of(point: CostPoint) -> list[float | None]:
    a_point = [point.a_point(point.made), point.a_point(point.person_seconds)]
    return [point.made, point.accepted, point.person_seconds, *a_point]


def _speed(runs: Sequence[RunResult], cycle: int) -> dict[str, float | None]:
    """Average over the stages of a cycle that noted how fast images went through, over all runs."""
    stages = [(stage, each) for run in runs for (c, stage), each in run.throughput.items() if c == cycle]
    fits = [each for stage, each in stages if stage.startswith("fit")]
    memory = [float(each.gpu_bytes) for _, each in stages if each.gpu_bytes is not None]
    return {
        "fit_speed": _mean([each.images_per_second for each in fits]),
        "predict_speed": _mean([each.images_per_second for stage, each in stages if stage.startswith("predict")]),
        "waiting": _mean([each.waiting for each in fits]),
        "gpu_bytes": max(memory, default=None),
    }


def _bought(counts: Sequence[dict[int, int]], cycle: int) -> tuple[list[float], list[float], list[float]]:
    """Give of each run what it had in a cycle, what the last query added, and what all queries added."""
    now = [float(each[cycle]) for each in counts]
    last = [float(each[cycle] - (each.get(cycle - 1, 0) if cycle else 0)) for each in counts]
    return now, last, [float(each[cycle] - each.get(0, 0)) for each in counts]


def _images(run: RunResult) -> dict[int, int]:
    return {result.cycle: result.num_labeled for result in run.cycles}


def _objects(run: RunResult) -> dict[int, int]:
    return {result.cycle: result.counts[OBJECTS] for result in run.cycles if OBJECTS in result.counts}


def _gain(run: RunResult, cycle: int, metric: str) -> float | None:
    values = {result.cycle: result.metrics[metric] for result in run.cycles if metric in result.metrics}
    return scale_of(metric) * (values[cycle] - values[0]) if {0, cycle} <= values.keys() else None


def _mean(values: Sequence[float]) -> float | None:
    return mean_std(values)[0] if values else None


def _text(value: float | None) -> str:
    """Three decimals are milliseconds, and thousandths of a point; none where they are zero."""
    return "" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")
