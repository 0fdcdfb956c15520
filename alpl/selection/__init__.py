"""Batches chosen together: diversity, balance and their combinations, as pure functions of tensors."""

from alpl.selection.average_linkage import average_linkage
from alpl.selection.badge import badge
from alpl.selection.bait import bait
from alpl.selection.balanced_kcenter import balanced_kcenter
from alpl.selection.batch_bald import batch_bald
from alpl.selection.ccms import ccms
from alpl.selection.class_balance import balanced_choice, class_targets
from alpl.selection.core_set import core_set
from alpl.selection.dbal import diverse_mini_batch
from alpl.selection.glister import glister
from alpl.selection.herding import herding
from alpl.selection.image_distance import FeatureDistance
from alpl.selection.image_similarity import global_similarity, jaccard_similarity
from alpl.selection.kcenter import kcenter_greedy
from alpl.selection.medoids import kcenter_of_similarities, refine_medoids
from alpl.selection.noris import Kernel, noris
from alpl.selection.object_distance import ObjectDistance
from alpl.selection.probcover import probcover, pure_radius
from alpl.selection.round_robin import round_robin
from alpl.selection.typiclust import typiclust

__all__ = [
    "FeatureDistance",
    "Kernel",
    "ObjectDistance",
    "average_linkage",
    "badge",
    "bait",
    "balanced_choice",
    "balanced_kcenter",
    "batch_bald",
    "ccms",
    "class_targets",
    "core_set",
    "diverse_mini_batch",
    "glister",
    "global_similarity",
    "herding",
    "jaccard_similarity",
    "kcenter_greedy",
    "kcenter_of_similarities",
    "noris",
    "probcover",
    "pure_radius",
    "refine_medoids",
    "round_robin",
    "typiclust",
]
