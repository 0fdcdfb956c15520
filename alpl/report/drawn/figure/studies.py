"""What studies of finished runs drew (``alpl-study``, ``alpl-balance``), a figure a study and row."""

from __future__ import annotations

from alpl.report.drawn.material import Caption, Material

CAPTION = Caption(
    alt="Of a finished run on {data}: {row}",
    heading="Studies of finished runs",
    text="What alpl-study asked a model of a row's first run that was studied. Retrieval: images that are "
    "similar by CCMS or by the global feature, and how far they show the same classes (PPAL Fig. 8 and 9). Nearest: "
    "objects that a query was chosen for, and the unlabeled objects nearest to each by their features (NORIS Fig. 5). "
    "Balance: what the weight of class balance does to a query (thesis Fig. 4.4).",
    is_wide=True,
    is_folded=True,
    most=6,  # some pictures each
)


def draw(material: Material) -> dict[str, bytes]:
    """Give the PNG files below the runs' ``studies/``, as they are."""
    drawn = {}
    for variant in material.recorded:
        studied = (sorted(run.folder.glob("studies/*/*.png")) for run in variant.runs)
        for path in next(filter(None, studied), []):
            drawn[f"{variant.label}, {path.parent.name}, {path.stem}"] = path.read_bytes()
    return drawn
