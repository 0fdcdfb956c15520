"""Where labels come from: how many and when, from whom, and what the model is sure of itself."""

from alpl.labeling.oracle import AbstractOracle, BenchmarkOracle, PersonOracle
from alpl.labeling.pseudo_labels import AbstractPseudoLabels, ImagePseudoLabels, PseudoLabels
from alpl.labeling.schedule import AbstractInitialSet, Candidates, Schedule

__all__ = [
    "AbstractInitialSet",
    "AbstractOracle",
    "AbstractPseudoLabels",
    "BenchmarkOracle",
    "Candidates",
    "ImagePseudoLabels",
    "PersonOracle",
    "PseudoLabels",
    "Schedule",
]
