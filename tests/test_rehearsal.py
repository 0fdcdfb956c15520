"""Every acquisition of the package passes its rehearsal; what cannot work with a model's predictions does not."""

import pytest
import torch

import alpl.acquisition as package
from alpl.acquisition import (
    AbstractAcquisition,
    Ccms,
    DetectionUncertainty,
    Entropy,
    KCenter,
    LeastConfidence,
    Medoids,
    RandomSampling,
    Then,
)
from alpl.errors import ConfigError
from alpl.predictions import Need
from alpl.rehearsal import rehearse

CLASSIFIER = Need.POSTERIOR | Need.IMAGE_FEATURES | Need.VIEWS | Need.HISTORY
DETECTOR = Need.POSTERIOR | Need.IMAGE_FEATURES | Need.FEATURES | Need.VIEWS | Need.FLIP | Need.BOXES

WRAPPED = {  # what those that wrap others are tried with
    "ClassBalanced": {"ranking": Entropy()},
    "Dbal": {"ranking": Entropy()},
    "PseudoLabelBalanced": {"ranking": Entropy()},
    "Medoids": {"similarity": Ccms()},
    "Noris": {"information": LeastConfidence()},
    "ObjectNoris": {"information": DetectionUncertainty("least_confidence")},
    "Then": {"first": RandomSampling(), "second": KCenter()},
}
OF_DETECTIONS = ("DetectionUncertainty", "FlipInconsistency", "Medoids", "ObjectNoris")

OURS = [
    getattr(package, name)
    for name in package.__all__
    if isinstance(getattr(package, name), type)
    and issubclass(getattr(package, name), AbstractAcquisition)
    and not name.startswith("Abstract")
    and getattr(package, name).can_rehearse
]


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("num_classes", [2, 10])
def test_our_own_pass(kind, num_classes):
    acquisition = kind(**WRAPPED.get(kind.__name__, {}))
    rehearse(acquisition, DETECTOR if kind.__name__ in OF_DETECTIONS else CLASSIFIER, num_classes)


def test_medoids_of_detections_wrapped_in_two_stages():
    rehearse(Then(DetectionUncertainty(), Medoids(Ccms()), 2.0), DETECTOR, 4)


def test_a_ranking_of_whole_images_refuses_a_detector_s_instances():
    with pytest.raises(ConfigError, match="predictions must hold one instance an image"):
        rehearse(Entropy(), DETECTOR, 10)


def test_it_draws_nothing_from_the_global_generator():
    state = torch.get_rng_state()
    rehearse(Entropy(), CLASSIFIER, 10)
    assert torch.equal(torch.get_rng_state(), state)
