"""Accuracy on the most informative images against their number (thesis Fig. 3.5)."""

from __future__ import annotations

from alpl.report.drawn.informativeness import plot_top_accuracy, recorded
from alpl.report.drawn.material import Caption, Material

CAPTION = Caption(
    alt="Accuracy on the k most informative unlabeled images of {data} against k, one curve a row",
    heading="Informativeness on {data}",
    text="What the model of cycle 0 knew about the images that each row finds most informative: the lower, the more "
    "there is to learn from them. A method that chooses a set, and gives no image a value of its own, ends at its "
    "query.",
)


def draw(material: Material) -> bytes | None:
    """Draw it; None where no run recorded what its model knew."""
    first = {variant.label: recorded(variant, material.notes).get(0, []) for variant in material.recorded}
    queried = {label: [part for part in parts if len(part.chosen)] for label, parts in first.items()}
    shown = {label: parts for label, parts in queried.items() if parts}
    return plot_top_accuracy(material.data, shown, material.styles) if shown else None
