"""Figures of classes: a panel a row with its first and last cycle, and gains over the reference, a panel a cycle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alpl.report.drawn.style import house_style, png, wrapped
from alpl.report.read.classes import ClassTable

FIRST, LAST, MARK = "#A9C4DD", "#0072B2", "#222222"
LETTERS = 36  # of a row's name, a line
MOST_PANELS, MOST_LINES = 6, 40  # cycles of the gains, and their lines in all panels together


def plot_classes(table: ClassTable) -> bytes:
    """Draw Fig. 3 of Elezi et al.: for each row the average precision of each class after its first and last cycle.

    A short line in each panel is the reference's last cycle.

    Returns:
        The PNG file.
    """
    shown, number = table.shown, len(table.lines)
    level = 100 * table.level[max(table.level)].mean[shown]
    with house_style():
        width = _width(len(shown))
        titles = [_title(label, min(cycles), max(cycles), table.reference) for label, cycles in table.lines.items()]
        titles = [wrapped(title, int(10 * width)) for title in titles]  # a wider one would squeeze the axes
        height = 1.3 + 1.5 * number + 0.2 * sum(title.count("\n") for title in titles)
        figure = Figure(figsize=(width, height), layout="constrained")
        panels = figure.subplots(number, 1, squeeze=False, sharex=True, sharey=True)[:, 0]
        for axes, title, cycles in zip(panels, titles, table.lines.values(), strict=True):
            first, last = min(cycles), max(cycles)
            _bars(axes, 100 * cycles[first].mean[shown], -0.2 if last > first else 0.0, FIRST, f"cycle {first}")
            if last > first:
                _bars(axes, 100 * cycles[last].mean[shown], 0.2, LAST, f"cycle {last}")
            axes.hlines(level, np.arange(len(shown)) - 0.42, np.arange(len(shown)) + 0.42, color=MARK, linewidth=1.4)
            axes.set_title(title, fontsize=11, loc="left")
            axes.grid(visible=False, axis="x")
        panels[-1].set_xticks(range(len(shown)), [table.classes[place] for place in shown], **_tilt(len(shown)))
        figure.supylabel("average precision (%)", fontsize=11)
        return png(figure)


def plot_class_gains(table: ClassTable) -> bytes:
    """Draw Fig. 6 of Elezi et al.: what each row gains over the reference in each class, a panel a cycle.

    Of more than 6 cycles some between the first and the last are left out; of more than 2 where rows are many.

    Returns:
        The PNG file.

    Raises:
        ValueError: no row but the reference came as far as a cycle of the reference.
    """
    labels, shown = [label for label in table.lines if label != table.reference], table.shown
    cycles = _spread(table.gain_cycles, max(2, min(MOST_PANELS, MOST_LINES // max(1, len(labels)))))
    if not cycles:
        raise ValueError(f"table must have a row beside {table.reference}, got none")
    gains = {cycle: np.stack([_gain(table, label, cycle)[shown] for label in labels]) for cycle in cycles}
    limit = max([float(np.nanmax(np.abs(gain))) for gain in gains.values() if not np.isnan(gain).all()], default=1.0)
    with house_style():
        height = 1.4 + len(cycles) * (0.45 + 0.32 * len(labels))
        names = [wrapped(label, LETTERS) for label in labels]
        longest = min(LETTERS, max(len(label) for label in labels))
        figure = Figure(figsize=(_width(len(shown)) + 0.09 * longest, height), layout="constrained")
        panels = figure.subplots(len(cycles), 1, squeeze=False, sharex=True)[:, 0]
        for axes, cycle in zip(panels, cycles, strict=True):
            _map(axes, gains[cycle], limit or 1.0)
            axes.set_yticks(range(len(labels)), names)
            axes.set_title(f"cycle {cycle}", fontsize=11, loc="left")
        panels[-1].set_xticks(range(len(shown)), [table.classes[place] for place in shown], **_tilt(len(shown)))
        figure.suptitle(f"gain over {table.reference} in points of average precision", fontsize=12, x=0.01, ha="left")
        return png(figure)


def _title(label: str, first: int, last: int, reference: str) -> str:
    what = f"cycle {first} (pale), cycle {last} (dark)" if last > first else f"cycle {first}"
    return f"{label}: {what}" + ("" if label == reference else f"; line: {reference}, last cycle")


def _bars(axes: Axes, values: np.ndarray, shift: float, color: str, label: str) -> None:
    width = 0.4 if shift else 0.8
    axes.bar(np.arange(len(values)) + shift, np.nan_to_num(values), width=width, color=color, label=label)


def _map(axes: Axes, gain: np.ndarray, limit: float) -> None:
    """Color and number every cell; ``gain``: ``Float[rows classes]``."""
    axes.imshow(gain, cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for (line, column), value in np.ndenumerate(gain):
        if not np.isnan(value):
            color = "white" if abs(value) > 0.7 * limit else "black"
            axes.text(column, line, f"{100 * value:+.1f}", ha="center", va="center", fontsize=8.5, color=color)


def _gain(table: ClassTable, label: str, cycle: int) -> np.ndarray:
    gain = table.gain(label, cycle)
    return np.full(len(table.classes), np.nan) if gain is None else gain


def _spread(cycles: Sequence[int], most: int) -> list[int]:
    places = np.unique(np.rint(np.linspace(0, len(cycles) - 1, min(len(cycles), most))).astype(int))
    return [cycles[place] for place in places]


def _width(num_classes: int) -> float:
    return max(6.6, 1.2 + 0.52 * num_classes)


def _tilt(num_classes: int) -> dict[str, object]:
    return {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if num_classes > 6 else {}
