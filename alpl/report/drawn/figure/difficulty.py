"""How hard each class was in training, and how precise it then was in the test, a panel a cycle (PPAL Fig. 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alpl.report.drawn.material import Caption, Material
from alpl.report.drawn.style import house_style, legend_below, png
from alpl.report.read.classes import MOST_CLASSES, NUM_EXTREMES
from alpl.report.read.difficulty import Difficulties, difficulties
from alpl.runs.results import RunResult

CAPTION = Caption(
    alt="Difficulty (bars) and average precision (points) of each class of {data} in {row}, a panel a cycle",
    heading="Difficulty of the classes of {data}: {row}",
    text="Mean over the seeds. Classes stand by falling difficulty; rho is Spearman's, over all classes with objects "
    "in the test. Of more than 20 classes the three hardest and the three easiest are shown.",
    is_wide=True,
    is_folded=True,
)
BAR, POINT = "#A9C4DD", "#D55E00"


def draw(material: Material) -> Mapping[str, bytes] | None:
    """Draw each row whose runs watched the difficulty; None where there is none.

    Args:
        material: of one data set.
    """
    told = {variant: difficulties(variant, material.notes) for variant in material.recorded}
    drawn = {variant.label: plot_difficulty(points, _names(variant.runs)) for variant, points in told.items() if points}
    return drawn or None


def plot_difficulty(points: Mapping[int, Difficulties], names: Sequence[str]) -> bytes:
    """Draw a panel a cycle: bars of the difficulty, points of the average precision.

    Args:
        points: cycle -> its classes; at least one.
        names: of the K classes; numbers where they are not of as many.

    Returns:
        The PNG file.
    """
    widest = max(len(shown(one)) for one in points.values())
    with house_style():
        figure = Figure(figsize=(max(6.6, 1.2 + 0.42 * widest), 0.6 + 2.4 * len(points)), layout="constrained")
        panels = figure.subplots(len(points), 1, squeeze=False, sharey=True)[:, 0]
        for axes, (cycle, one) in zip(panels, points.items(), strict=True):
            _panel(axes, one, names)
            axes.set_title(f"cycle {cycle}: Spearman's rho {one.correlation:.2f}", fontsize=11, loc="left")
        legend_below(figure, panels[0])
        return png(figure)


def shown(one: Difficulties) -> list[int]:
    """The classes of a panel, by falling difficulty."""
    order = one.order
    if len(one.difficulty) <= MOST_CLASSES:
        return order
    return [*order[:NUM_EXTREMES], *order[NUM_EXTREMES:][-NUM_EXTREMES:]]


def _panel(axes: Axes, one: Difficulties, names: Sequence[str]) -> None:
    chosen = shown(one)
    places = range(len(chosen))
    axes.bar(places, one.difficulty[chosen], width=0.8, color=BAR, label="difficulty")
    axes.plot(places, one.precision[chosen], "o", color=POINT, label="average precision")
    told = [names[place] if len(names) == len(one.difficulty) else str(place) for place in chosen]
    axes.set_xticks(places, told, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_ylim(0, 1)
    axes.grid(visible=False, axis="x")


def _names(runs: Sequence[RunResult]) -> Sequence[str]:
    return next((run.classes for run in runs if run.classes), ())
