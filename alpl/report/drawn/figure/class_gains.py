"""What each row gains over the reference in each class, a panel a cycle (Elezi et al., Fig. 6)."""

from __future__ import annotations

from dataclasses import replace

from alpl.report.drawn.class_figures import plot_class_gains
from alpl.report.drawn.material import Caption, Material
from alpl.report.read.classes import MOST_CLASSES

CAPTION = Caption(
    alt="Gain of each row over the reference in each class of {data}, cycle by cycle",
    is_wide=True,
    numbers="classes.csv",
)


def draw(material: Material, *, most_classes: int = MOST_CLASSES) -> bytes | None:
    """Draw it; None where no row but the reference came as far as one of its cycles.

    Args:
        material: of one data set.
        most_classes: with more of them the reference's best three and worst three are shown.
    """
    tables = (replace(one, most=most_classes) for one in material.classes if one.gain_cycles)
    return next((plot_class_gains(one) for one in tables), None)
