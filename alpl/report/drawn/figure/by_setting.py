"""The metric against a setting of the experiment, a line a row (NORIS Table 3, PPAL Fig. 7)."""

from __future__ import annotations

from matplotlib.figure import Figure

from alpl.report.drawn.material import Caption, Material
from alpl.report.drawn.style import house_style, legend_below, line_styles, png
from alpl.report.read.aggregate import Point, Variant
from alpl.report.read.cycles import at_cycle
from alpl.report.read.split import setting_of
from alpl.report.read.tables import metric_title, scale_of

CAPTION = Caption(alt="The metric on {data} against a setting, one line a row", numbers="table.csv", counts_rows=True)
MOST_VALUES = 12  # more do not fit below the axis


def draw(material: Material, *, key: str, cycle: int | str = "last") -> bytes | None:
    """Draw the rows that were run with at least one value of the setting.

    Args:
        material: of one data set.
        key: where the config has the setting, dotted.
        cycle: which cycle the numbers are of: a number, ``last`` or ``mean``.

    Returns:
        The PNG file; None where nothing is measured.
    """
    metric, rows = material.table.metric, _rows(material, key, cycle)
    if metric is None or not rows:
        return None
    values = sorted({value for points in rows.values() for value in points}, key=_order)
    scale, styles = scale_of(metric), line_styles(rows)
    with house_style():
        figure = Figure(figsize=(6.6, 4.2), layout="constrained")
        axes = figure.add_subplot()
        for row, points in rows.items():
            there = [place for place, value in enumerate(values) if value in points]
            means = [scale * points[values[place]].mean for place in there]
            stds = [scale * (points[values[place]].std or 0.0) for place in there]
            look = styles[row]
            axes.errorbar(there, means, stds, color=look.color, marker=look.marker, linewidth=1.8, capsize=2, label=row)
        places = range(0, len(values), -(-len(values) // MOST_VALUES))
        axes.set_xticks(places, [values[place] for place in places])
        axes.set(xlabel=key, ylabel=metric_title(metric), title=material.data)
        legend_below(figure, axes)
        return png(figure)


def _rows(material: Material, key: str, cycle: int | str) -> dict[str, dict[str, Point]]:
    """Give row -> value of the setting as text -> its point."""
    found: dict[str, dict[str, Point]] = {}
    for variant in material.variants:
        value = setting_of(variant.runs[0].config, key)
        point = _point(variant, material.table.metric, cycle)
        if value is not None and point is not None:
            found.setdefault(variant.row, {}).setdefault(value, point)
    return found


def _point(variant: Variant, metric: str | None, cycle: int | str) -> Point | None:
    curve = at_cycle(variant, cycle).curve(metric) if metric is not None else ()
    return curve[-1] if curve else None


def _order(value: str) -> tuple[bool, float, str]:
    """Numbers ascending, then the others by name."""
    try:
        return False, float(value), value
    except ValueError:
        return True, 0.0, value
