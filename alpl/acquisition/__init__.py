"""Acquisitions: one small file each. To add your own, see README.md, "Your own acquisition"."""

from alpl.acquisition.badge import Badge
from alpl.acquisition.bald import Bald
from alpl.acquisition.base import AbstractAcquisition, AbstractRanking, Context, Query, Stage
from alpl.acquisition.cald import Cald
from alpl.acquisition.ccms import Ccms
from alpl.acquisition.cdal import Cdal
from alpl.acquisition.class_balanced import BalancedKCenter, ClassBalanced, PseudoLabelBalanced
from alpl.acquisition.class_spread import ClassSpread
from alpl.acquisition.class_weighted import (
    AbstractClassWeights,
    ClassWeighted,
    DifficultyWeights,
    FrequencyWeights,
)
from alpl.acquisition.core_set import CoreSet
from alpl.acquisition.dbal import Dbal
from alpl.acquisition.detection_uncertainty import DetectionUncertainty
from alpl.acquisition.dispersion import Dispersion
from alpl.acquisition.div_proto import DivProto, Enms
from alpl.acquisition.entropy import Entropy
from alpl.acquisition.feature_discriminators import ImageDiscriminator, ObjectDiscriminator
from alpl.acquisition.flip_inconsistency import FlipInconsistency
from alpl.acquisition.greedy import AbstractGreedy, BalancedGreedy
from alpl.acquisition.image_labelers import ConfidentImages, MostCertain
from alpl.acquisition.image_similarity import (
    AbstractImageSimilarity,
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
from alpl.acquisition.object_kcenter import ObjectKCenter
from alpl.acquisition.object_ranking import AbstractObjectRanking
from alpl.acquisition.oracle import Oracle
from alpl.acquisition.predicted_loss import PredictedLoss
from alpl.acquisition.pseudo_labelers import AbstractPseudoLabeler, ConfidentObjects, TopPerClass
from alpl.acquisition.random_sampling import RandomSampling
from alpl.acquisition.replay import Replay
from alpl.acquisition.svm_margin import SvmMargin
from alpl.acquisition.then import Then
from alpl.acquisition.vaal import Vaal

__all__ = [
    "AbstractAcquisition",
    "AbstractClassWeights",
    "AbstractGreedy",
    "AbstractImageSimilarity",
    "AbstractObjectRanking",
    "AbstractPseudoLabeler",
    "AbstractRanking",
    "Badge",
    "BalancedGreedy",
    "BalancedKCenter",
    "Bald",
    "Cald",
    "Ccms",
    "Cdal",
    "ClassBalanced",
    "ClassSpread",
    "ClassWeighted",
    "ConfidentImages",
    "ConfidentObjects",
    "Context",
    "CoreSet",
    "Dbal",
    "DetectionUncertainty",
    "DifficultyWeights",
    "Dispersion",
    "DivProto",
    "Enms",
    "Entropy",
    "FlipInconsistency",
    "FrequencyWeights",
    "GlobalSimilarity",
    "ImageDiscriminator",
    "JaccardSimilarity",
    "KCenter",
    "KlMatching",
    "LeastConfidence",
    "Margin",
    "Medoids",
    "MixtureUncertainty",
    "MostCertain",
    "Noris",
    "ObjectDiscriminator",
    "ObjectKCenter",
    "ObjectNoris",
    "Oracle",
    "PredictedLoss",
    "PseudoLabelBalanced",
    "Query",
    "RandomSampling",
    "Replay",
    "Stage",
    "SvmMargin",
    "Then",
    "TopPerClass",
    "Vaal",
]
