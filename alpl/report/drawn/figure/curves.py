"""Learning curves of all rows, or of some (``rows``); with ``join`` of several data sets, budgets or splits."""

from __future__ import annotations

from collections.abc import Sequence

from alpl.report.drawn.curves import learning_curves
from alpl.report.drawn.material import Caption, Material

CAPTION = Caption(
    alt="Learning curves on {data}: the metric against the number of labeled images",
    text="Bands: one standard deviation over the seeds. Dotted: training on all images.",
    of_paper="Dashed, with hollow marks: the paper's numbers of the row of that color, where it prints them.",
    numbers="table.csv",
)


def draw(
    material: Material, *, log: bool = False, dashed: Sequence[str] = (), paper: bool = True, title: str = ""
) -> bytes | None:
    """Draw them, see :func:`alpl.report.drawn.curves.learning_curves`."""
    return learning_curves(material, log=log, dashed=dashed, paper=paper, title=title)
