"""How many labeled images each class has, cycle by cycle (thesis Fig. 4.2, 4.3, 4.8 to 4.10)."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alpl.report.drawn.material import Caption, Material
from alpl.report.drawn.style import house_style, png
from alpl.report.read.class_counts import mean_counts

CAPTION = Caption(
    alt="Labeled images (or objects) of each class of {data} after each query, a panel a row",
    heading="What is labeled of each class of {data}",
    text="Mean over the seeds. Bars grow from the initial set (dark) to the last query (pale); the line is what equal "
    "classes would have.",
    is_wide=True,
)
MOST_NAMES = 25  # more names do not fit below the bars


def draw(material: Material) -> bytes | None:
    """Draw a panel a row, a bar a class, stacked by query; None where no row that queries counted its classes."""
    variants = [variant for variant in material.recorded if not variant.is_all_data]
    counted = {variant.label: mean_counts(variant, material.notes) for variant in variants}
    shown = {label: counts for label, counts in counted.items() if counts}
    if not shown:
        return None
    runs = [run for variant in variants for run in variant.runs]
    number = max(len(next(iter(counts.values()))) for counts in shown.values())
    names = next((run.classes for run in runs if len(run.classes) == number), ())
    with house_style():
        figure = Figure(
            figsize=(max(6.6, min(14.0, 1.2 + 0.42 * number)), 0.9 + 1.7 * len(shown)), layout="constrained"
        )
        panels = figure.subplots(len(shown), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
        for axes, (label, counts) in zip(panels, shown.items(), strict=True):
            _stack(axes, counts)
            axes.set_title(label, fontsize=11, loc="left")
        if names and number <= MOST_NAMES:
            panels[-1].set_xticks(range(number), names, rotation=40, ha="right", rotation_mode="anchor")
        else:
            panels[-1].set_xlabel("class")
        figure.suptitle(material.data, fontsize=12, x=0.01, ha="left")
        figure.supylabel("labeled", fontsize=11)
        return png(figure)


def _stack(axes: Axes, counts: dict[int, np.ndarray]) -> None:
    """Stack what each query added to each class; ``counts``: cycle -> ``Float[K]``, ascending."""
    before = np.zeros(len(next(iter(counts.values()))))
    for place, count in enumerate(counts.values()):
        pale = place / max(1, len(counts) - 1)
        color = (0.0 + 0.72 * pale, 0.36 + 0.48 * pale, 0.62 + 0.32 * pale)
        axes.bar(np.arange(len(count)), count - before, bottom=before, width=0.8, color=color, linewidth=0)
        before = count
    axes.axhline(float(before.mean()), color="#222222", linewidth=1)
    axes.grid(visible=False, axis="x")
