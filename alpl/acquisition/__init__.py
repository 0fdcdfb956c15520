"""Acquisitions: one small file each. To add your own, see README.md, "Your own acquisition"."""

from alpl.acquisition.badge import Badge
from alpl.acquisition.bait import Bait
from alpl.acquisition.bald import Bald
from alpl.acquisition.base import AbstractAcquisition, AbstractRanking, Context, Query, Stage
from alpl.acquisition.batch_bald import BatchBald
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
from alpl.acquisition.cluster_margin import ClusterMargin
from alpl.acquisition.core_set import CoreSet
from alpl.acquisition.dbal import Dbal
from alpl.acquisition.detection_errors import DetectionErrors
from alpl.acquisition.detection_uncertainty import DetectionUncertainty
from alpl.acquisition.dispersion import Dispersion
from alpl.acquisition.div_proto import DivProto, Enms
from alpl.acquisition.drop_query import DropQuery
from alpl.acquisition.entropy import Entropy
from alpl.acquisition.feature_discriminators import ImageDiscriminator, ObjectDiscriminator
from alpl.acquisition.flip_inconsistency import FlipInconsistency
from alpl.acquisition.glister import Glister
from alpl.acquisition.greedy import AbstractGreedy, BalancedGreedy
from alpl.acquisition.herding import MaxHerding, UncertaintyHerding
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
from alpl.acquisition.probcover import ProbCover
from alpl.acquisition.pseudo_labelers import AbstractPseudoLabeler, ConfidentObjects, TopPerClass
from alpl.acquisition.random_sampling import RandomSampling
from alpl.acquisition.replay import Replay
from alpl.acquisition.spaced import Spaced, SpacedByFeature
from alpl.acquisition.stochastic import Stochastic
from alpl.acquisition.svm_margin import SvmMargin
from alpl.acquisition.temporal_coherence import TemporalCoherence
from alpl.acquisition.then import Then
from alpl.acquisition.trackers import AbstractTracker, FlowTracker
from alpl.acquisition.typiclust import TypiClust
from alpl.acquisition.vaal import Vaal

__all__ = [
    "AbstractAcquisition",
    "AbstractClassWeights",
    "AbstractGreedy",
    "AbstractImageSimilarity",
    "AbstractObjectRanking",
    "AbstractPseudoLabeler",
    "AbstractRanking",
    "AbstractTracker",
    "Badge",
    "Bait",
    "BalancedGreedy",
    "BalancedKCenter",
    "Bald",
    "BatchBald",
    "Cald",
    "Ccms",
    "Cdal",
    "ClassBalanced",
    "ClassSpread",
    "ClassWeighted",
    "ClusterMargin",
    "ConfidentImages",
    "ConfidentObjects",
    "Context",
    "CoreSet",
    "Dbal",
    "DetectionErrors",
    "DetectionUncertainty",
    "DifficultyWeights",
    "Dispersion",
    "DivProto",
    "DropQuery",
    "Enms",
    "Entropy",
    "FlipInconsistency",
    "FlowTracker",
    "FrequencyWeights",
    "Glister",
    "GlobalSimilarity",
    "ImageDiscriminator",
    "JaccardSimilarity",
    "KCenter",
    "KlMatching",
    "LeastConfidence",
    "Margin",
    "MaxHerding",
    "Medoids",
    "MixtureUncertainty",
    "MostCertain",
    "Noris",
    "ObjectDiscriminator",
    "ObjectKCenter",
    "ObjectNoris",
    "Oracle",
    "PredictedLoss",
    "ProbCover",
    "PseudoLabelBalanced",
    "Query",
    "RandomSampling",
    "Replay",
    "Spaced",
    "SpacedByFeature",
    "Stage",
    "Stochastic",
    "SvmMargin",
    "TemporalCoherence",
    "Then",
    "TopPerClass",
    "TypiClust",
    "UncertaintyHerding",
    "Vaal",
]
