"""Learning curves: the metric against the number of labeled images."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alpl.report.drawn.style import LineStyle, count_axis, house_style, legend_below, png
from alpl.report.judged.paper_curves import PaperCurves
from alpl.report.read.aggregate import Point, Variant
from alpl.report.read.tables import WideTable, metric_title, scale_of


def learning_curves(table: WideTable, styles: Mapping[str, LineStyle], paper: PaperCurves) -> bytes:
    """Draw one line a variant with a band of one standard deviation, the paper's beside it dashed in the same color.

    Training on all data is a dotted level.

    Args:
        table: one data set with at least one finished cycle.
        styles: label -> look.
        paper: see :func:`alpl.report.judged.paper_curves.paper_curves`; empty where nothing can be set beside ours.

    Returns:
        The PNG file.

    Raises:
        ValueError: the table has no finished cycle.
    """
    if table.metric is None:
        raise ValueError(f"table must have a finished cycle, got none for {table.data}")
    with house_style():
        figure = Figure(figsize=(6.6, 4.2), layout="constrained")
        axes = figure.add_subplot()
        counts: list[float] = []
        for variant in table.variants:
            curve = variant.curve(table.metric)
            if not curve:
                continue
            if variant.is_all_data:
                _draw_level(axes, variant, curve[-1], scale_of(table.metric))
            else:
                _draw_curve(axes, variant, curve, styles[variant.label], scale_of(table.metric))
                counts += [point.num_labeled for point in curve]
        _draw_paper(axes, paper, styles)
        if counts:
            count_axis(axes, counts)
        else:  # all data only: a level has no place on the x axis
            axes.set_xticks([])
        axes.set_xlabel("labeled images")
        axes.set_ylabel(metric_title(table.metric))
        axes.set_title(table.data)
        legend_below(figure, axes)
        return png(figure)


def _draw_curve(axes: Axes, variant: Variant, curve: tuple[Point, ...], look: LineStyle, scale: float) -> None:
    counts, means = [point.num_labeled for point in curve], [point.mean * scale for point in curve]
    axes.plot(counts, means, color=look.color, marker=look.marker, linewidth=1.8, label=variant.label)
    stds = [(point.std or 0.0) * scale for point in curve]  # no width where a single seed has no deviation
    low = [mean - std for mean, std in zip(means, stds, strict=True)]
    high = [mean + std for mean, std in zip(means, stds, strict=True)]
    axes.fill_between(counts, low, high, color=look.color, alpha=0.15, linewidth=0)


def _draw_paper(axes: Axes, paper: PaperCurves, styles: Mapping[str, LineStyle]) -> None:
    for label, points in paper.items():
        counts, values = [labeled for labeled, _ in points], [value for _, value in points]
        look = styles[label]
        axes.plot(counts, values, color=look.color, marker=look.marker, markerfacecolor="white", markersize=5,
                  linestyle="--", linewidth=1.3)  # fmt: skip
    if paper:  # one entry of the legend for all of them: the colors are the rows'
        axes.plot([], [], color="#555555", linestyle="--", linewidth=1.3, label="the paper's numbers")


def _draw_level(axes: Axes, variant: Variant, point: Point, scale: float) -> None:
    label = f"{variant.label} ({point.num_labeled:,.0f} images)"
    axes.axhline(point.mean * scale, color="#555555", linestyle=":", linewidth=1.8, label=label)
    if point.std is not None:
        low, high = (point.mean - point.std) * scale, (point.mean + point.std) * scale
        axes.axhspan(low, high, color="#555555", alpha=0.12, linewidth=0)
