"""How many labeled images, or objects, of each class each cycle had.

Axes: K classes.
"""

from __future__ import annotations

import numpy as np

from alpl.errors import DataError
from alpl.report.read.aggregate import Variant


def mean_counts(variant: Variant, notes: list[str]) -> dict[int, np.ndarray]:
    """Give cycle -> ``Float[K]`` mean over the seeds, ascending; empty where no run counted its classes.

    Args:
        variant: one row on one data set.
        notes: what cannot be read is named here (appended to).
    """
    counted: dict[int, list[tuple[int, ...]]] = {}
    for run in variant.runs:
        for result in run.cycles:
            try:
                counts = run.class_counts(result.cycle)
            except DataError as error:
                notes.append(f"{run.folder.name}: the counts of cycle {result.cycle} are left out: {error}")
                continue
            if counts:
                counted.setdefault(result.cycle, []).append(counts)
    sizes = {len(counts) for seeds in counted.values() for counts in seeds}
    if len(sizes) > 1:
        notes.append(f"{variant.label}: counts are not shown, as runs have different numbers of classes: {sizes}")
        return {}
    return {cycle: np.mean(seeds, axis=0) for cycle, seeds in sorted(counted.items())}
