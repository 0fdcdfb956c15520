"""Acquisitions: one small file each. To add your own, see README.md, "Your own acquisition"."""

from alpl.acquisition.bald import Bald
from alpl.acquisition.base import AbstractAcquisition, AbstractRanking, Context, Query
from alpl.acquisition.dispersion import Dispersion
from alpl.acquisition.entropy import Entropy
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
    "Dispersion",
    "Entropy",
    "KCenter",
    "LeastConfidence",
    "Margin",
    "Oracle",
    "Query",
    "RandomSampling",
]
