"""Runs -> variants (one row on one data set) -> mean and standard deviation over the seeds of each cycle."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, final

from alpl.runs.results import RunResult

STAGES = ("fit", "test", "predict", "select")
MAX_LEAVES = 3  # config leaves that a label names; more would not fit into a table
MAX_LETTERS = 24  # of the value of a leaf
Leaf: TypeAlias = tuple[str, str]


@final
@dataclass(frozen=True)
class Point:
    """One metric of one variant after one cycle, over its seeds.

    Args:
        cycle: the cycle.
        num_labeled: mean number of labeled images.
        mean: mean over the seeds.
        std: sample standard deviation (n - 1 in the denominator); None for a single seed, which has none.
        num_seeds: the seeds that finished this cycle.
    """

    cycle: int
    num_labeled: float
    mean: float
    std: float | None
    num_seeds: int


@final
@dataclass(frozen=True, eq=False)
class Variant:
    """All runs of one config that differ in nothing but the seed."""

    label: str
    runs: tuple[RunResult, ...]
    is_derived: bool = False
    """Whether it is another metric of another row's runs, whose recordings and seconds are that row's."""

    @property
    def data(self) -> str:
        """The data set's name."""
        return self.runs[0].data

    @property
    def row(self) -> str:
        """The row of the table."""
        return self.runs[0].row

    @property
    def num_cycles(self) -> int:
        """Cycles that the config asks for."""
        return self.runs[0].num_cycles

    @property
    def is_all_data(self) -> bool:
        """Trained once, on every image."""
        return all(run.is_all_labeled for run in self.runs)

    @property
    def planned_seeds(self) -> tuple[int, ...]:
        """The seeds that the experiment's own sweep asks for, and those that were started beyond it, ascending."""
        planned = {int(seed) for run in self.runs for seed in run.planned.get("seed", ()) if seed.isdecimal()}
        return tuple(sorted(planned | {run.seed for run in self.runs}))

    @property
    def missing_seeds(self) -> tuple[int, ...]:
        """Those of them that no run finished."""
        finished = {run.seed for run in self.runs if run.status == "finished"}
        return tuple(seed for seed in self.planned_seeds if seed not in finished)

    @property
    def changes(self) -> tuple[str, ...] | None:
        """What the command line changed of the experiment's setting; None where a run does not say."""
        told = [run.changes for run in self.runs if run.changes is not None]
        return tuple(dict.fromkeys(change for one in told for change in one)) if len(told) == len(self.runs) else None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The measured columns in the order of the files; the tests' (``test/*``) come first."""
        names = dict.fromkeys(name for run in self.runs for cycle in run.cycles for name in cycle.metrics)
        return tuple(sorted(names, key=lambda name: not name.startswith("test/")))

    def curve(self, metric: str) -> tuple[Point, ...]:
        """Give the points of the cycles that at least one seed finished, ascending."""
        measured: dict[int, list[tuple[int, float]]] = {}
        for run in self.runs:
            for result in run.cycles:
                if metric in result.metrics:
                    measured.setdefault(result.cycle, []).append((result.num_labeled, result.metrics[metric]))
        points = []
        for cycle, pairs in sorted(measured.items()):
            mean, std = mean_std([value for _, value in pairs])
            num_labeled = math.fsum(labeled for labeled, _ in pairs) / len(pairs)
            points.append(Point(cycle, num_labeled, mean, std, len(pairs)))
        return tuple(points)


def mean_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation.

    >>> mean_std([1.0, 2.0, 3.0])
    (2.0, 1.0)
    >>> mean_std([0.5])
    (0.5, None)
    """
    mean = sum(values) / len(values)
    if len(values) == 1:
        return mean, None
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def group(runs: Sequence[RunResult], row_order: Sequence[str] = ()) -> list[Variant]:
    """Group the runs of one table by data set and config; rows in ``row_order`` first, the others by name."""
    rank = {row: position for position, row in enumerate(row_order)}
    rows: dict[tuple[str, int, str], dict[str, list[RunResult]]] = {}
    for run in sorted(runs, key=lambda run: (run.variant, run.seed)):
        same_row = rows.setdefault((run.data, rank.get(run.row, len(rank)), run.row), {})
        same_row.setdefault(run.variant, []).append(run)
    variants = []
    for _, same_row in sorted(rows.items(), key=lambda item: item[0]):
        groups = list(same_row.values())
        variants += sorted(zip(_labels(groups), groups, strict=True), key=lambda pair: pair[0])
    return [Variant(label, tuple(members)) for label, members in variants]


def primary_metric(variants: Sequence[Variant], named: str | None = None) -> str | None:
    """Give the metric that a table shows.

    Args:
        variants: the table's lines.
        named: as an experiment names it, see :func:`is_named`; taken where any variant measured it.

    Returns:
        That one, or the first ``test/*`` column of the first variant that has one; None where nothing is measured.
    """
    measured = dict.fromkeys(name for variant in variants for name in variant.metrics)
    wanted = (name for name in measured if named is not None and is_named(name, named))
    return next(wanted, next((name for name in measured if name.startswith("test/")), None))


def is_named(metric: str, named: str) -> bool:
    """Whether an experiment means this metric; it may leave ``test/`` out.

    >>> is_named("test/map", "map"), is_named("l1_score", "l1_score"), is_named("test/map50", "map")
    (True, True, False)
    """
    return metric in (named, f"test/{named}")


def seconds(variant: Variant) -> dict[tuple[int, str], tuple[float, int]]:
    """Give (cycle, stage) -> (mean seconds, runs that recorded it), in the order of the loop."""
    measured: dict[tuple[int, str], list[float]] = {}
    for run in variant.runs:
        for key, value in run.seconds.items():
            measured.setdefault(key, []).append(value)
    position = {stage: number for number, stage in enumerate(STAGES)}
    order = sorted(measured, key=lambda key: (key[0], position.get(key[1], len(position)), key[1]))
    return {key: (mean_std(measured[key])[0], len(measured[key])) for key in order}


def _labels(groups: Sequence[Sequence[RunResult]]) -> list[str]:
    """Name the variants that share a row: by the row, or by it and the config leaves in which they differ."""
    row = groups[0][0].row
    if len(groups) == 1:
        return [row]
    leaves = [dict(config_leaves(members[0].config)) for members in groups]
    paths = dict.fromkeys(path for one in leaves for path in one)
    differing = [path for path in paths if len({one.get(path) for one in leaves}) > 1][:MAX_LEAVES]
    names = _short_paths(differing)
    named = [
        ", ".join(f"{names[path]}={_short_value(one.get(path, 'absent'))}" for path in differing) for one in leaves
    ]
    if len(set(named)) < len(named):  # equal in the leaves that fit: the hash always tells them apart
        hashes = (members[0].variant[:8] for members in groups)
        named = [f"{name}, {short}" if name else short for name, short in zip(named, hashes, strict=True)]
    return [f"{row} ({name})" for name in named]


def _short_paths(paths: Sequence[str]) -> dict[str, str]:
    """Give path -> its last part, or itself where two end alike."""
    ends = [path.rpartition(".")[2] for path in paths]
    return {path: end if ends.count(end) == 1 else path for path, end in zip(paths, ends, strict=True)}


def _short_value(value: str) -> str:
    """Give the beginning of a value that is too long for a label; a hash tells apart what begins alike."""
    return value if len(value) <= MAX_LETTERS else value[: MAX_LETTERS - 1] + "…"


def config_leaves(config: Any, path: str = "") -> list[Leaf]:
    """Flatten a nested config into (dotted path, value as text), without the seeds."""
    if isinstance(config, Mapping):
        inner = ((f"{path}.{key}" if path else str(key), value) for key, value in config.items())
        return [leaf for name, value in inner for leaf in config_leaves(value, name)]
    if path.rpartition(".")[2] == "seed":
        return []
    return [(path, config if isinstance(config, str) else json.dumps(config, ensure_ascii=False))]
