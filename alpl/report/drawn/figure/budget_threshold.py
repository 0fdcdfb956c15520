"""Above how many labels a class active learning is better than chance, against the classes (thesis Fig. 5.6)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alpl.report.drawn.material import Caption, Material
from alpl.report.drawn.style import house_style, png
from alpl.report.read.aggregate import Point, Variant

CAPTION = Caption(
    alt="Labels a class from which the best row is ahead of random, against the classes of {data}",
    text="A point is the smallest number of labels from which on the best row's mean stays above that of random, as "
    "far as is measured; the line is the least-squares fit, r Pearson's correlation where there are three data sets.",
    numbers="table.csv",
    most=1000,  # of some of the rows it would be another number
)


def draw(material: Material) -> bytes | None:
    """Draw a point a data set; joined, to be one figure of all.

    Returns:
        The PNG file; None where no row stays ahead of the reference (``report.reference``, or ``random``).
    """
    points = points_of(material)
    if not points:
        return None
    with house_style():
        figure = Figure(figsize=(5.0, 3.8), layout="constrained")
        axes = figure.add_subplot()
        for name, (classes, labels) in points.items():
            axes.scatter([classes], [labels], color="#1f5fa8", zorder=3)
            axes.annotate(name, (classes, labels), textcoords="offset points", xytext=(6, 4))
        axes.set(xlabel="classes", ylabel="labels a class", title=_line(axes, list(points.values())))
        return png(figure)


def points_of(material: Material) -> dict[str, tuple[int, float]]:
    """Give the classes of each data set, and the labels a class from which the best row stays ahead, where it does."""
    points = {}
    for table in material.tables:
        found = (
            None if table.metric is None else threshold(table.variants, table.metric, material.reference or "random")
        )
        classes = len(table.variants[0].runs[0].classes) if table.variants else 0
        if found is not None and classes:
            points[table.data] = (classes, found / classes)
    return points


def threshold(variants: Sequence[Variant], metric: str, reference: str) -> float | None:
    """Give the smallest number of labels from which on the best other row stays above the reference.

    "Above these budgets, AL outperforms Random sampling" (thesis Fig. 5.6): being ahead once and behind at a larger
    budget is not enough. The first cycle is left out: there all rows have the same images. Rows are compared at the
    same budget, that is the same number of labels after the same cycle; where several schedules come to as many labels,
    the best row is ahead in each.

    Args:
        variants: rows, each once a budget.
        metric: the higher the better.
        reference: the row that is chance.

    Returns:
        None where the best row is not ahead at the most labels, or nothing is measured at the same budget.
    """
    chance: dict[tuple[int, float], float] = {}
    best: dict[tuple[int, float], float] = {}
    for variant in variants:
        of = chance if variant.row == reference else best
        for point in variant.curve(metric):
            if point.cycle > 0:
                key = _key(point)
                of[key] = max(point.mean, of.get(key, point.mean))
    behind = [labels for (cycle, labels) in best.keys() & chance.keys() if best[cycle, labels] <= chance[cycle, labels]]
    above = max(behind, default=float("-inf"))
    return min((labels for _, labels in best.keys() & chance.keys() if labels > above), default=None)


def correlation(points: Sequence[tuple[int, float]]) -> float | None:
    """Give Pearson's r of classes and labels a class; None of fewer than three points, or where one never changes."""
    classes, labels = [float(x) for x, _ in points], [y for _, y in points]
    if len(points) < 3 or len(set(classes)) < 2 or len(set(labels)) < 2:
        return None
    return statistics.correlation(classes, labels)


def _key(point: Point) -> tuple[int, float]:
    return point.cycle, point.num_labeled


def _line(axes: Axes, points: Sequence[tuple[int, float]]) -> str:
    """Draw the fit where classes differ; give the title."""
    classes, labels = [float(x) for x, _ in points], [y for _, y in points]
    if len(set(classes)) < 2:
        return "Labels from which active learning is ahead"
    slope, start = statistics.linear_regression(classes, labels)
    ends = [min(classes), max(classes)]
    axes.plot(ends, [start + slope * end for end in ends], color="#555555", linestyle="--")
    r = correlation(points)
    told = "" if r is None else f", r = {r:.2f}"
    return f"Labels from which active learning is ahead{told}"
