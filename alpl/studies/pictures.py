"""Rows of small pictures with a line above and a line below each."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alpl.report.drawn.style import COLORS, house_style, png

_FIRST = "#333333"
_LETTERS = 44  # below a picture


@final
@dataclass(frozen=True, eq=False)
class Shown:
    """One picture.

    Args:
        pixels: ``UInt8[h w 3]``.
        title: above it.
        text: below it.
        color: which color it has: 0 for what a row is about, 1 and up for what stands beside it.
    """

    pixels: np.ndarray
    title: str
    text: str
    color: int


def plot_rows(rows: Sequence[Sequence[Shown]]) -> bytes:
    """Draw them, row by row.

    Args:
        rows: at least one; shorter ones leave their places free.

    Returns:
        The PNG file.
    """
    columns = max(len(row) for row in rows)
    with house_style():
        figure = Figure(figsize=(1.5 * columns, 1.9 * len(rows)), layout="constrained")
        for line, row in zip(figure.subplots(len(rows), columns, squeeze=False), rows, strict=True):
            for axes, one in zip(line, row, strict=False):
                _draw(axes, one)
            for axes in line[len(row) :]:
                axes.set_visible(False)
        return png(figure)


def _draw(axes: Axes, one: Shown) -> None:
    color = _FIRST if one.color == 0 else COLORS[one.color - 1]
    axes.imshow(one.pixels)
    axes.set_title(one.title, fontsize=8.5, color=color)
    axes.set_xlabel(textwrap.shorten(one.text, _LETTERS), fontsize=6.5)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set(visible=True, color=color)
