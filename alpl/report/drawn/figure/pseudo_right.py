"""How many pseudo-labels of images were right, over the cycles (thesis sec. 3.5)."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alpl.report.drawn.material import Caption, Material
from alpl.report.drawn.style import house_style, legend_below, png

METRIC = "share_pseudo_right"  # a column of metrics.csv
CAPTION = Caption(
    alt="Share of right pseudo-labels on {data} over the cycles",
    heading="Right pseudo-labels on {data}",
    text="Share of the pseudo-labeled images that the training of a cycle saw whose class is the true one, mean over "
    "the seeds. The true classes serve this figure alone.",
    numbers="table.csv",
)


def draw(material: Material) -> bytes | None:
    """Draw a line a row; None where no row trained with pseudo-labels of images."""
    curves = {variant.label: variant.curve(METRIC) for variant in material.recorded}
    if not any(curves.values()):
        return None
    with house_style():
        figure = Figure(figsize=(6.6, 3.5), layout="constrained")
        axes = figure.subplots()
        for label, points in curves.items():
            if points:
                look = material.styles[label]
                cycles, shares = [point.cycle for point in points], [100 * point.mean for point in points]
                axes.plot(cycles, shares, color=look.color, marker=look.marker, linewidth=1.8, label=label)
        axes.set(title=material.data, xlabel="cycle", ylabel="right pseudo-labels (%)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend_below(figure, axes)
        return png(figure)
