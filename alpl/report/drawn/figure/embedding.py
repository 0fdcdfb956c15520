"""t-SNE of what was queried (Hekimoglu et al., NORIS, Fig. 4)."""

from __future__ import annotations

from alpl.report.drawn.embedding import embedding_figure
from alpl.report.drawn.material import Caption, Material

CAPTION = Caption(
    alt="t-SNE of unlabeled images of {data}, those marked that were queried, a panel a row",
    heading="Where the queries lie on {data}",
    text="t-SNE of image features: a sample of the unlabeled images (gray) and the queried ones (in color). A dot "
    "grows with the utility, where the acquisition values each image. Panels of the same model have the same "
    "coordinates; distances between far groups mean nothing.",
    is_wide=True,
)


def draw(material: Material) -> bytes | None:
    """Draw it; None where no run recorded features."""
    return embedding_figure(material.data, material.recorded, material.notes)
