"""Learning curves: the metric against the number of labeled images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from alpl.report.drawn.material import Material
from alpl.report.drawn.style import LineStyle, count_axis, house_style, legend_below, png
from alpl.report.judged.paper_curves import PaperCurves, paper_curves
from alpl.report.read.aggregate import Point, Variant
from alpl.report.read.tables import metric_title, scale_of


def learning_curves(
    material: Material, *, log: bool = False, dashed: Sequence[str] = (), paper: bool = True, title: str = ""
) -> bytes | None:
    """Draw one line a variant with a band of one standard deviation, the paper's beside it dashed in the same color.

    Training on all data is a dotted level. Of several data sets (budgets that are joined) each has lines of its own,
    those of a label in one look.

    Args:
        material: of one data set, or of several with the same metric.
        log: whether the labeled images are on a log scale.
        dashed: rows whose lines are dashed.
        paper: whether the paper's numbers are drawn where they can stand beside ours.
        title: of the figure; the data's name if empty.

    Returns:
        The PNG file; None where no cycle is finished.
    """
    metric = next((table.metric for table in material.tables if table.metric is not None), None)
    drawn = [(variant, curve) for variant in material.variants if metric and (curve := variant.curve(metric))]
    if metric is None or not drawn:
        return None
    with house_style():
        figure = Figure(figsize=(6.6, 4.2), layout="constrained")
        axes = figure.add_subplot()
        for variant, curve in drawn:
            look = material.styles[variant.label]
            if variant.is_all_data:
                _draw_level(axes, variant, curve[-1], scale_of(metric))
            else:
                _draw_curve(axes, variant, curve, look, scale_of(metric), is_dashed=variant.row in dashed)
        _draw_paper(axes, _papers(material) if paper else {}, material)
        _label_counts(axes, [p.num_labeled for variant, curve in drawn if not variant.is_all_data for p in curve], log)
        axes.set(xlabel="labeled images" + (" (log scale)" if log else ""), ylabel=metric_title(metric))
        axes.set_title(title or material.data)
        legend_below(figure, axes)
        return png(figure)


def _label_counts(axes: Axes, counts: Sequence[float], log: bool) -> None:
    if not counts:  # all data only: a level has no place on the x axis
        axes.set_xticks([])
    elif log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        count_axis(axes, counts)


def _papers(material: Material) -> PaperCurves:
    """Give the paper's curves of the rows that are drawn."""
    labels = {variant.label for variant in material.variants}
    found = [paper_curves(table, material.paper) for table in material.tables]
    return {label: points for curves in found for label, points in curves.items() if label in labels}


def _draw_curve(
    axes: Axes, variant: Variant, curve: tuple[Point, ...], look: LineStyle, scale: float, *, is_dashed: bool
) -> None:
    counts, means = [point.num_labeled for point in curve], [point.mean * scale for point in curve]
    axes.plot(
        counts, means, color=look.color, marker=look.marker, linewidth=1.8, linestyle=(0, (4, 2)) if is_dashed else "-",
        label=_once(axes, variant.label),
    )  # fmt: skip
    stds = [(point.std or 0.0) * scale for point in curve]  # no width where a single seed has no deviation
    low = [mean - std for mean, std in zip(means, stds, strict=True)]
    high = [mean + std for mean, std in zip(means, stds, strict=True)]
    axes.fill_between(counts, low, high, color=look.color, alpha=0.15, linewidth=0)


def _draw_paper(axes: Axes, paper: PaperCurves, material: Material) -> None:
    for label, points in paper.items():
        counts, values = [labeled for labeled, _ in points], [value for _, value in points]
        look = material.styles[label]
        axes.plot(counts, values, color=look.color, marker=look.marker, markerfacecolor="white", markersize=5,
                  linestyle="--", linewidth=1.3)  # fmt: skip
    if paper:  # one entry of the legend for all of them: the colors are the rows'
        axes.plot([], [], color="#555555", linestyle="--", linewidth=1.3, label="the paper's numbers")


def _draw_level(axes: Axes, variant: Variant, point: Point, scale: float) -> None:
    label = f"{variant.label} ({point.num_labeled:,.0f} images)"
    axes.axhline(point.mean * scale, color="#555555", linestyle=":", linewidth=1.8, label=_once(axes, label))
    if point.std is not None:
        low, high = (point.mean - point.std) * scale, (point.mean + point.std) * scale
        axes.axhspan(low, high, color="#555555", alpha=0.12, linewidth=0)


def _once(axes: Axes, label: str) -> str:
    """Give the label where the legend lacks it; else one that no legend shows."""
    known: Iterable[str] = axes.get_legend_handles_labels()[1]
    return "_nolegend_" if label in known else label
