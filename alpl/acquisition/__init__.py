"""Acquisitions: one small file each. To add your own, see README.md, "Your own acquisition"."""

from alpl.acquisition.badge import Badge
from alpl.acquisition.bald import Bald
from alpl.acquisition.base import AbstractAcquisition, AbstractRanking, Context, Query, Stage
from alpl.acquisition.cdal import Cdal
from alpl.acquisition.class_balanced import BalancedKCenter, ClassBalanced, PseudoLabelBalanced
from alpl.acquisition.core_set import CoreSet
from alpl.acquisition.dbal import Dbal
from alpl.acquisition.detection_uncertainty import DetectionUncertainty
from alpl.acquisition.dispersion import Dispersion
from alpl.acquisition.entropy import Entropy
from alpl.acquisition.flip_inconsistency import FlipInconsistency
from alpl.acquisition.image_labelers import ConfidentImages, MostCertain
from alpl.acquisition.image_similarity import (
    AbstractImageSimilarity,
    Ccms,
    GlobalSimilarity,
    JaccardSimilarity,
    KlMatching,
)
from alpl.acquisition.kcenter import KCenter
from alpl.acquisition.least_confidence import LeastConfidence
from alpl.acquisition.margin import Margin
from alpl.acquisition.medoids import Medoids
from alpl.acquisition.mixture_uncertainty import MixtureUncertainty
from alpl.acquisition.noris import Noris, ObjectNoris
from alpl.acquisition.object_ranking import AbstractObjectRanking
from alpl.acquisition.oracle import Oracle
from alpl.acquisition.predicted_loss import PredictedLoss
from alpl.acquisition.pseudo_labelers import AbstractPseudoLabeler, ConfidentObjects, TopPerClass
from alpl.acquisition.random_sampling import RandomSampling
from alpl.acquisition.replay import Replay
from alpl.acquisition.then import Then

__all__ = [
    "AbstractAcquisition",
    "AbstractImageSimilarity",
    "AbstractObjectRanking",
    "AbstractPseudoLabeler",
    "AbstractRanking",
    "Badge",
    "BalancedKCenter",
    "Bald",
    "Ccms",
    "Cdal",
    "ClassBalanced",
    "ConfidentImages",
    "ConfidentObjects",
    "Context",
    "CoreSet",
    "Dbal",
    "DetectionUncertainty",
    "Dispersion",
    "Entropy",
    "FlipInconsistency",
    "GlobalSimilarity",
    "JaccardSimilarity",
    "KCenter",
    "KlMatching",
    "LeastConfidence",
    "Margin",
    "Medoids",
    "MixtureUncertainty",
    "MostCertain",
    "Noris",
    "ObjectNoris",
    "Oracle",
    "PredictedLoss",
    "PseudoLabelBalanced",
    "Query",
    "RandomSampling",
    "Replay",
    "Stage",
    "Then",
    "TopPerClass",
]
