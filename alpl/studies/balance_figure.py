"""How value, l1 norm and L1 score go with the weight of class balance (thesis Fig. 4.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from alpl.report.drawn.style import COLORS, house_style, legend_below, png
from alpl.selection.balance_scan import Measured

_TITLES = {"l1": "l1 norm (Eq. 4.2)", "l1_score": "L1 score (Eq. 4.10)"}


def plot_scan(
    weights: Sequence[float], found: Sequence[Measured], levels: Mapping[str, Measured], chosen: float, value: str
) -> bytes:
    """Draw three panels, each over the weights.

    Args:
        weights: of the scan.
        found: what the choice of each is worth.
        levels: choices without a weight by name, which are lines across.
        chosen: the weight that the text's rule takes.
        value: what the first panel shows.

    Returns:
        The PNG file.
    """
    with house_style():
        figure = Figure(figsize=(12.0, 3.6), layout="constrained")
        panels = figure.subplots(1, 3)
        for axes, (name, title) in zip(panels, {"value": value, **_TITLES}.items(), strict=True):
            axes.plot(weights, [getattr(one, name) for one in found], color=COLORS[0], linewidth=1.8, label="balanced")
            for color, (level, one) in zip(COLORS[1:], levels.items(), strict=False):
                axes.axhline(getattr(one, name), color=color, linestyle="--", linewidth=1.3, label=level)
            axes.axvline(chosen, color="#333333", linestyle=":", linewidth=1.3, label=f"\u03bb* = {chosen:g}")
            axes.set(xlabel="\u03bb", title=title)
        legend_below(figure, panels[0])
        return png(figure)
