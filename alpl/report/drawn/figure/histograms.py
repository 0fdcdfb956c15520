"""Unlabeled images by utility, and the accuracy on them, a figure a row (thesis Fig. 3.3, 3.4)."""

from __future__ import annotations

from collections.abc import Sequence

from alpl.report.drawn.informativeness import MIN_IMAGES, has_histogram, plot_histograms, recorded
from alpl.report.drawn.material import Caption, Material

MAX_PANELS = 3
CAPTION = Caption(
    alt="Unlabeled images of {data} by utility of {row}, and the accuracy on them",
    heading="Utility and accuracy, row by row",
    text="Bars: unlabeled images by utility. Line: how many of them the model has right; it skips bins of fewer than "
    f"{MIN_IMAGES} images.",
    is_wide=True,
    is_folded=True,
    most=6,  # a picture each
)


def draw(material: Material) -> dict[str, bytes]:
    """Draw a figure for each row whose utilities have enough different values."""
    drawn = {}
    for variant in material.recorded:
        ranked = {cycle: parts for cycle, parts in recorded(variant, []).items() if has_histogram(parts)}
        if shown := {cycle: ranked[cycle] for cycle in _spread(list(ranked))}:
            drawn[variant.label] = plot_histograms(f"{variant.label} on {variant.data}", shown)
    return drawn


def _spread(cycles: Sequence[int]) -> list[int]:
    """Choose the first, the middle and the last of more than three cycles."""
    if len(cycles) <= MAX_PANELS:
        return list(cycles)
    return [cycles[0], cycles[len(cycles) // 2], cycles[-1]]
