"""Does a high utility find what the model does not know yet? See the thesis, section 3.3.2, Fig. 3.3 to 3.5.

Axes: U unlabeled images, b images of a query, H histogram bins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from alpl.errors import DataError
from alpl.report.drawn.style import LineStyle, house_style, legend_below, png
from alpl.report.read.aggregate import Variant
from alpl.runs.results import Informativeness

MAX_BINS = 12
MIN_IMAGES = 5  # a bin with fewer, over all seeds, has no accuracy to speak of and gets no point of the line
MIN_DISTINCT = 3  # fewer values make no histogram worth a figure: the oracle knows only right and wrong
MAX_LATTICE = 1000  # more steps than this are no grid but continuous values


@final
@dataclass(frozen=True, eq=False)
class Histogram:
    """Unlabeled images by utility.

    Args:
        edges: ``Float[H + 1]``.
        counts: ``Float[H]`` images a bin, mean over the seeds.
        total: ``Float[H]`` images a bin, sum over the seeds.
        accuracy: ``Float[H]`` share that the model has right, mean over the seeds; NaN in an empty bin.
    """

    edges: np.ndarray
    counts: np.ndarray
    total: np.ndarray
    accuracy: np.ndarray


def bin_edges(utility: np.ndarray) -> np.ndarray:
    """Give at most 12 bins of equal width.

    Utilities that lie on a grid (label dispersion: multiples of 1/E) get bins of whole grid steps. Otherwise
    some bins would hold one grid value more than their neighbors, and the histogram would show false teeth.

    Args:
        utility: ``Float[n]``, at least two different values.

    Returns:
        ``Float[H + 1]``.
    """
    distinct = np.unique(np.round(utility, 9))
    step = float(np.diff(distinct).min())
    places = (distinct - distinct[0]) / step
    if places[-1] > MAX_LATTICE or not np.allclose(places, np.rint(places), atol=1e-3):
        return np.linspace(utility.min(), utility.max(), MAX_BINS + 1)
    num_places = round(places[-1]) + 1
    width = math.ceil(num_places / MAX_BINS)
    num_bins = math.ceil(num_places / width)
    return np.asarray(distinct[0] + step * (np.arange(num_bins + 1) * width - 0.5))


def has_histogram(parts: Sequence[Informativeness]) -> bool:
    """Whether there are utilities, with enough different values."""
    values = [part.utility for part in parts if part.utility is not None]
    return bool(values) and len(np.unique(np.round(np.concatenate(values), 9))) >= MIN_DISTINCT


def histogram(parts: Sequence[Informativeness], edges: np.ndarray) -> Histogram:
    """Count the images of several seeds by utility; parts without utilities are left out."""
    counts, rights = [], []
    for part in parts:
        if part.utility is not None:
            counts.append(np.histogram(part.utility, edges)[0])
            rights.append(np.histogram(part.utility[part.correct], edges)[0])
    count, right = np.stack(counts).astype(float), np.stack(rights).astype(float)
    share = np.divide(right, count, out=np.zeros_like(right), where=count > 0)
    seeds = (count > 0).sum(0)
    mean = np.divide(share.sum(0), seeds, out=np.full(len(edges) - 1, np.nan), where=seeds > 0)
    return Histogram(edges, count.mean(0), count.sum(0), mean)


def top_accuracy(part: Informativeness) -> np.ndarray:
    """``Float[k]``: the share that the model has right among the 1, 2, ... k most informative images.

    The queried images come first, in the order of choice, then the others by utility. Images of equal utility
    are in no order: each counts as the mean of its equals, which is what a random order gives on average. A
    set method orders only what it chose, so k ends at b.

    >>> correct = np.array([True, False, True, False])
    >>> top_accuracy(Informativeness(correct, np.array([1]), np.array([0.0, 0.9, 0.5, 0.5])))
    array([0.        , 0.25      , 0.33333333, 0.5       ])
    """
    values = part.correct[part.chosen].astype(float)
    if part.utility is not None:
        rest = np.ones(len(part.correct), dtype=bool)
        rest[part.chosen] = False
        _, place, counts = np.unique(-part.utility[rest], return_inverse=True, return_counts=True)
        right = np.bincount(place, weights=part.correct[rest].astype(float), minlength=len(counts))
        values = np.concatenate([values, np.repeat(right / np.maximum(counts, 1), counts)])
    return np.asarray(np.cumsum(values) / np.arange(1, len(values) + 1))


def recorded(variant: Variant, notes: list[str]) -> dict[int, list[Informativeness]]:
    """Give cycle -> the seeds' recordings, ascending.

    Args:
        variant: one row on one data set.
        notes: what cannot be read is named here (appended to).
    """
    found: dict[int, list[Informativeness]] = {}
    for run in variant.runs:
        for cycle in run.informative_cycles:
            try:
                found.setdefault(cycle, []).append(run.informativeness(cycle))
            except DataError as error:
                notes.append(f"{run.folder.name}: the recording of cycle {cycle} is left out: {error}")
    return {cycle: found[cycle] for cycle in sorted(found) if found[cycle]}


def plot_histograms(title: str, cycles: Mapping[int, Sequence[Informativeness]]) -> bytes:
    """Draw Fig. 3.3: a panel a cycle, bars = images by utility, line = share that the model has right.

    Args:
        title: above the panels.
        cycles: cycle -> the seeds' recordings, with utilities; all panels share bins and axes.

    Returns:
        The PNG file.
    """
    utilities = [part.utility for parts in cycles.values() for part in parts if part.utility is not None]
    edges = bin_edges(np.concatenate(utilities))
    found = {cycle: histogram(parts, edges) for cycle, parts in cycles.items()}
    highest = max(float(one.counts.max()) for one in found.values())
    with house_style():
        figure = Figure(figsize=(1.2 + 3.3 * len(found), 3.7), layout="constrained")
        figure.suptitle(title, fontsize=12, x=0.01, horizontalalignment="left")
        panels = figure.subplots(1, len(found), squeeze=False)[0]
        for place, (axes, (cycle, one)) in enumerate(zip(panels, found.items(), strict=True)):
            _draw_panel(axes, one, is_first=place == 0, is_last=place == len(found) - 1)
            axes.set_title(f"cycle {cycle}", fontsize=11)
            axes.set_ylim(0, highest * 1.08)
        return png(figure)


def plot_top_accuracy(
    data: str, rows: Mapping[str, Sequence[Informativeness]], styles: Mapping[str, LineStyle]
) -> bytes:
    """Draw Fig. 3.5: accuracy on the k most informative images of cycle 0 against k, mean over the seeds.

    Args:
        data: the data set's name.
        rows: label -> the seeds' recordings of cycle 0, at least one each.
        styles: label -> look.

    Returns:
        The PNG file.
    """
    with house_style():
        figure = Figure(figsize=(6.6, 4.2), layout="constrained")
        axes = figure.add_subplot()
        for label, parts in rows.items():
            curves = [top_accuracy(part) for part in parts]
            length = min(len(curve) for curve in curves)
            mean = np.mean([curve[:length] for curve in curves], axis=0)
            # fewer than ten images give no accuracy to speak of, unless there are no more
            k = np.unique(np.rint(np.geomspace(min(10, length), length, 80)).astype(int))
            look = styles[label]
            axes.plot(k, 100 * mean[k - 1], color=look.color, marker=look.marker, markevery=8, label=label)
        budgets = {len(part.chosen) for parts in rows.values() for part in parts}
        if len(budgets) == 1:
            budget = budgets.pop()
            axes.axvline(budget, color="#555555", linestyle=":", label=f"query of {budget} images")
        axes.set(xscale="log", title=f"{data}, cycle 0", ylim=(-2, 102))
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("k most informative unlabeled images (log scale)")
        axes.set_ylabel("of these, the model has right (%)")
        legend_below(figure, axes)
        return png(figure)


def _draw_panel(axes: Axes, one: Histogram, *, is_first: bool, is_last: bool) -> None:
    width = one.edges[1] - one.edges[0]
    centers = (one.edges[:-1] + one.edges[1:]) / 2
    axes.bar(centers, one.counts, width=0.9 * width, color="#A9C4DD")
    axes.set_xlabel("utility")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    right = axes.twinx()
    filled = one.total >= MIN_IMAGES
    right.plot(centers[filled], 100 * one.accuracy[filled], color="#222222", marker="o", markersize=5)
    right.set_ylim(0, 105)
    right.grid(visible=False)
    if is_first:
        axes.set_ylabel("unlabeled images (bars)")
    else:
        axes.tick_params(labelleft=False)
    if is_last:
        right.set_ylabel("model has right, % (line)")
        right.spines.right.set_visible(True)
    else:
        right.tick_params(labelright=False, right=False)
