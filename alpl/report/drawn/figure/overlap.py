"""What the queries of two rows have in common (Choi et al., Table 3)."""

from __future__ import annotations

from alpl.report.drawn.material import Caption, Material
from alpl.report.drawn.overlap import plot_overlaps

CAPTION = Caption(
    alt="Share of common images in the queries of two rows on {data}, one cell a pair of rows; numbers: overlap.csv",
    heading="Overlap of the queries on {data}",
    text="Common images among those that two rows queried with the same seed and initial set (of the row with fewer, "
    "where budgets differ), mean over the seeds. The first query is made from the same images, maybe with other "
    "models. By chance: what two random draws of these sizes have in common.",
    is_wide=True,
    numbers="overlap.csv",
)


def draw(material: Material) -> bytes | None:
    """Draw it; None where no two rows can be compared."""
    return next((plot_overlaps(one) for one in material.overlaps), None)
