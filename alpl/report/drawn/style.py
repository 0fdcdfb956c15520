"""How figures look: one style a row, in every figure of a table. No pyplot: no state outlives a figure."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Okabe and Ito, "Color Universal Design" (2008), best contrast first; their yellow is too pale for a line
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#333333")
# nine markers and seven colors: the pair repeats only after 63 rows
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<")
MOST_ROWS = 16
"""Rows of a figure: of more, lines cannot be told apart, and a map of their pairs grows with the square."""
LEGEND_LETTERS = 70  # fit below the axes of a figure of the usual width
MOST_PIXELS = 3600  # of a side: a larger figure is drawn with fewer dots an inch
SETTINGS = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture on every machine
    "font.size": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 10.0,
    "figure.facecolor": "white",
    "text.usetex": False,
    "text.parse_math": False,  # a dollar in a name is a dollar
}


@final
@dataclass(frozen=True)
class LineStyle:
    """The look of one row."""

    color: str
    marker: str


@contextmanager
def house_style() -> Iterator[None]:
    """Draw and save figures inside this block; a user's own settings for these keys do not leak in."""
    with mpl.rc_context(SETTINGS):  # type: ignore[arg-type, unused-ignore]
        yield


def line_styles(labels: Iterable[str]) -> dict[str, LineStyle]:
    """Give each label its own color and marker, by its place."""
    distinct = enumerate(dict.fromkeys(labels))
    return {label: LineStyle(COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)]) for i, label in distinct}


def wrapped(label: str, letters: int) -> str:
    r"""Break a name into lines of at most so many letters: a longer one would be cut off, or squeeze the axes.

    >>> wrapped("entropy (lr=0.1, momentum=0.9)", 20)
    'entropy (lr=0.1,\nmomentum=0.9)'
    """
    return textwrap.fill(label, letters)


def legend_below(figure: Figure, axes: Axes) -> None:
    """Put the legend under the axes, where it can hide nothing."""
    handles, names = axes.get_legend_handles_labels()
    labels = [wrapped(name, LEGEND_LETTERS) for name in names]
    longest = max((len(line) for label in labels for line in label.split("\n")), default=0)
    columns = max(1, min(3, len(labels), 80 // (longest + 7)))  # about 80 letters fit side by side
    lines = -(-sum(label.count("\n") + 1 for label in labels) // columns)
    height = figure.get_figheight() + 0.24 * lines  # the axes keep their own height
    figure.set_figheight(height)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def count_axis(axes: Axes, counts: Iterable[float]) -> None:
    """Put the x ticks on the counts themselves where they fit, else on round whole numbers."""
    distinct = sorted(set(counts))
    gaps = [after - before for before, after in pairwise(distinct)]
    if len(distinct) <= 8 and all(gap > (distinct[-1] - distinct[0]) / 16 for gap in gaps):
        axes.set_xticks(distinct)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))


def png(figure: Figure) -> bytes:
    """Render a figure of at most 3600 pixels a side; no software version or time goes into the file."""
    stream = io.BytesIO()
    FigureCanvasAgg(figure)
    dpi = min(150.0, MOST_PIXELS / max(figure.get_size_inches()))
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def slug(*parts: str) -> str:
    """Join names into one that every file system takes.

    >>> slug("informativeness", "digits", "dispersion (lr=0.1)")
    'informativeness_digits_dispersion-lr-0.1'
    """
    return "_".join(re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip("-.") or "unnamed" for part in parts)
