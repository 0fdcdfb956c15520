"""Acquisitions: one small file each. To add your own, see README.md, "Your own acquisition"."""

from alpl.acquisition.bald import Bald
from alpl.acquisition.base import AbstractAcquisition, AbstractRanking, Context, Query
from alpl.acquisition.detection_uncertainty import DetectionUncertainty
from alpl.acquisition.dispersion import Dispersion
from alpl.acquisition.entropy import Entropy
from alpl.acquisition.flip_inconsistency import FlipInconsistency
from alpl.acquisition.kcenter import KCenter
from alpl.acquisition.least_confidence import LeastConfidence
from alpl.acquisition.margin import Margin
from alpl.acquisition.oracle import Oracle
from alpl.acquisition.random_sampling import RandomSampling

__all__ = [
    "AbstractAcquisition",
    "AbstractRanking",
    "Bald",
    "Context",
    "DetectionUncertainty",
    "Dispersion",
    "Entropy",
    "FlipInconsistency",
    "KCenter",
    "LeastConfidence",
    "Margin",
    "Oracle",
    "Query",
    "RandomSampling",
]
