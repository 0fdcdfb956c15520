"""The classes of each row after its first and its last cycle (Elezi et al., Fig. 3)."""

from __future__ import annotations

from dataclasses import replace

from alpl.report.drawn.class_figures import plot_classes
from alpl.report.drawn.material import Caption, Material
from alpl.report.read.classes import MOST_CLASSES

CAPTION = Caption(
    alt="Average precision of each class of {data}, first and last cycle of each row",
    heading="Classes of {data}",
    text="Where there are too many classes, those that the reference is best and worst at after its last cycle; "
    "classes.csv holds all.",
    is_wide=True,
    numbers="classes.csv",
)


def draw(material: Material, *, most_classes: int = MOST_CLASSES) -> bytes | None:
    """Draw a panel a row; None where no run tells its classes.

    Args:
        material: of one data set.
        most_classes: with more of them the reference's best three and worst three are shown.
    """
    return next((plot_classes(replace(one, most=most_classes)) for one in material.classes), None)
