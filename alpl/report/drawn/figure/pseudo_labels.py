"""The share of pseudo-labels over the cycles, and what they gain (Elezi et al., Fig. 5b)."""

from __future__ import annotations

from alpl.report.drawn.material import Caption, Material
from alpl.report.drawn.pseudo_labels import plot_pseudo_labels, pseudo_points

CAPTION = Caption(
    alt="Share of pseudo-labels on {data} over the cycles, and what they gain",
    heading="Pseudo-labels on {data}",
    text="Share of the pseudo-labeled objects among all that the training saw, and what the row gains over the same "
    "row without pseudo-labels, where that was run.",
    numbers="pseudo_labels.csv",
)


def draw(material: Material) -> bytes | None:
    """Draw it; None where no row counted pseudo-labels."""
    return plot_pseudo_labels(material.table, material.styles) if pseudo_points(material.table) else None
