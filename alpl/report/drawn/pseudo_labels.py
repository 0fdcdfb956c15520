"""Pseudo-labels over the cycles: their share of all labels, and what they gain (Elezi et al., Fig. 5b)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alpl.report.drawn.style import LineStyle, house_style, legend_below, png
from alpl.report.read.aggregate import Leaf, Variant, config_leaves, mean_std
from alpl.report.read.tables import WideTable, csv_text, metric_title, scale_of

GROUP = "pseudo_labels"
COUNTS = ("num_labeled_objects", "num_pseudo_images", "num_pseudo_objects")


@final
@dataclass(frozen=True)
class PseudoPoint:
    """The pseudo-labels that one variant trained with in one cycle, means over its seeds.

    Args:
        cycle: the cycle.
        counts: labeled objects, pseudo-labeled images, pseudo-labeled objects.
        share: pseudo-labeled objects among all, in [0, 1]; None where there is no object at all.
        gain: the metric less that of the same row without pseudo-labels; None where there is none.
        num_seeds: the seeds that finished this cycle.
    """

    cycle: int
    counts: tuple[float, ...]
    share: float | None
    gain: float | None
    num_seeds: int


def pseudo_points(table: WideTable) -> dict[str, tuple[PseudoPoint, ...]]:
    """Give label -> points, of the variants that counted pseudo-labels."""
    found = {}
    for variant in table.variants:
        counted: dict[int, list[tuple[int, ...]]] = {}
        for result in (result for run in variant.runs for result in run.cycles):
            if all(name in result.counts for name in COUNTS):
                counted.setdefault(result.cycle, []).append(tuple(result.counts[name] for name in COUNTS))
        if counted:
            gains = _gains(variant, table)
            found[variant.label] = tuple(_point(cycle, counted[cycle], gains) for cycle in sorted(counted))
    return found


def counterpart(variant: Variant, variants: Sequence[Variant]) -> Variant | None:
    """Find the variant whose config is the same but for its pseudo-labels, of which it has none."""
    ours = _without(variant)
    for other in variants:
        if other.data == variant.data and other.runs[0].config.get(GROUP) is None and _without(other) == ours:
            return other if other is not variant else None
    return None


def plot_pseudo_labels(table: WideTable, styles: Mapping[str, LineStyle]) -> bytes:
    """Draw Fig. 5b: the share of pseudo-labels over the cycles, and below it the gain where it is known.

    Args:
        table: one data set with a variant that counted pseudo-labels.
        styles: label -> look.

    Returns:
        The PNG file.
    """
    found = pseudo_points(table)
    has_gain = any(point.gain is not None for points in found.values() for point in points)
    with house_style():
        number = 2 if has_gain else 1
        figure = Figure(figsize=(6.6, 0.8 + 2.7 * number), layout="constrained")
        panels = figure.subplots(number, 1, squeeze=False, sharex=True)[:, 0]
        for label, points in found.items():
            shares = [(point.cycle, 100 * point.share) for point in points if point.share is not None]
            _line(panels[0], shares, label, styles[label])
        panels[0].set(title=table.data, ylabel="pseudo-labels (%)", ylim=(-2, 102))
        if has_gain and table.metric is not None:
            scale = scale_of(table.metric)
            for label, points in found.items():
                gains = [(point.cycle, scale * point.gain) for point in points if point.gain is not None]
                _line(panels[1], gains, label, styles[label])
            panels[1].axhline(0, color="#555555", linewidth=1)
            panels[1].set(ylabel=f"gain in {metric_title(table.metric)}")
        panels[-1].set_xlabel("cycle")
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        legend_below(figure, panels[0])
        return png(figure)


def pseudo_csv(tables: Sequence[WideTable]) -> str:
    """Give data,row,cycle, the three counts, share, gain and seeds."""
    rows = []
    for table in tables:
        for label, points in pseudo_points(table).items():
            for point in points:
                values = [*point.counts, point.share, point.gain]
                texts = ["" if value is None else f"{value:.8g}" for value in values]
                rows.append([table.data, label, point.cycle, *texts, point.num_seeds])
    return csv_text(["data", "row", "cycle", *COUNTS, "share", "gain", "seeds"], rows)


def _point(cycle: int, counted: Sequence[tuple[int, ...]], gains: Mapping[int, float]) -> PseudoPoint:
    shares = [pseudo / (pseudo + labeled) for labeled, _, pseudo in counted if pseudo + labeled]
    means = tuple(sum(values) / len(values) for values in zip(*counted, strict=True))
    share = mean_std(shares)[0] if shares else None
    return PseudoPoint(cycle, means, share, gains.get(cycle), len(counted))


def _gains(variant: Variant, table: WideTable) -> dict[int, float]:
    """Give cycle -> gain over the counterpart."""
    other = counterpart(variant, table.variants)
    if other is None or table.metric is None:
        return {}
    theirs = {point.cycle: point.mean for point in other.curve(table.metric)}
    ours = variant.curve(table.metric)
    return {point.cycle: point.mean - theirs[point.cycle] for point in ours if point.cycle in theirs}


def _without(variant: Variant) -> list[Leaf]:
    leaves = config_leaves(variant.runs[0].config)
    return sorted(leaf for leaf in leaves if leaf[0].partition(".")[0] != GROUP)


def _line(axes: Axes, points: Sequence[tuple[int, float]], label: str, look: LineStyle) -> None:
    cycles, values = [cycle for cycle, _ in points], [value for _, value in points]
    axes.plot(cycles, values, color=look.color, marker=look.marker, linewidth=1.8, label=label)
