"""How far similarity and common classes go together (PPAL Fig. 9).

Axes: A anchors.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from alpl.report.drawn.style import house_style, png


def rank_correlation(similarity: np.ndarray, jaccard: np.ndarray) -> float | None:
    """Give Spearman's rho of ``Float[A]`` and ``Float[A]``; None where one of them is the same everywhere."""
    if len(similarity) < 2 or np.ptp(similarity) == 0 or np.ptp(jaccard) == 0:
        return None
    return float(spearmanr(similarity, jaccard).statistic)


def normalized(values: np.ndarray) -> np.ndarray:
    """``Float[A]`` -> [0, 1], the least to 0 and the largest to 1; 0.5 where all are equal."""
    spread = np.ptp(values)
    return (values - values.min()) / spread if spread else np.full(len(values), 0.5)


def plot_correspondence(methods: Mapping[str, tuple[np.ndarray, np.ndarray]], number: int) -> bytes:
    """Draw for each method how many anchors have a mean similarity and a mean Jaccard similarity (Fig. 9).

    Args:
        methods: name -> similarity and Jaccard similarity, ``Float[A]`` each.
        number: of images that each anchor retrieved.

    Returns:
        The PNG file.
    """
    with house_style():
        figure = Figure(figsize=(4.6 * len(methods), 4.2), layout="constrained")
        panels = figure.subplots(1, len(methods), squeeze=False)[0]
        for axes, (name, (similarity, jaccard)) in zip(panels, methods.items(), strict=True):
            _draw_bins(axes, name, similarity, jaccard)
        panels[0].set_ylabel(f"mean Jaccard similarity of {number} retrieved")
        return png(figure)


def _draw_bins(axes: Axes, name: str, similarity: np.ndarray, jaccard: np.ndarray) -> None:
    rho = rank_correlation(similarity, jaccard)
    axes.hexbin(normalized(similarity), jaccard, gridsize=28, extent=(0, 1, 0, 1), bins="log", mincnt=1, cmap="viridis")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="mean similarity, normalized")
    axes.set_title(f"{name}: Spearman's rho {'undefined' if rho is None else f'{rho:.2f}'}", fontsize=11)
